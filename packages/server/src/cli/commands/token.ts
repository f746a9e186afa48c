import { type Command, InvalidArgumentError, Option } from 'commander'
import { createCommand, createGroup, type Run } from '../run.ts'

interface CreateOptions {
  email: string
  name: string
  expiresAt?: number
}

interface ListOptions {
  email?: string
  app?: string
}

export function tokenCommand(run: Run): Command {
  const create = createCommand('create', 'make an API token, which is shown once')
    .requiredOption('--email <email>', 'whose')
    .requiredOption('--name <name>', 'what it is for')
    .option('--expires-at <time>', 'when it ends, as 2030-01-31T12:00:00Z', instantOf)
    .action(({ email, name, expiresAt }: CreateOptions, command: Command) =>
      run(
        command,
        async (core) => {
          const { id } = await core.identities.findByEmail(email)
          return core.tokens.create(id, name, expiresAt)
        },
        ({ token, id }) => `${token}\n(token ${id}; it is shown only now)`,
      ),
    )

  const list = createCommand('list', 'the API tokens of a person or an application')
    .addOption(new Option('--email <email>', 'of a person').conflicts('app'))
    .addOption(new Option('--app <id>', 'of an application'))
    .action(({ email, app }: ListOptions, command: Command) => {
      if (!email && !app) command.error("error: required option '--email <email>' not specified")
      return run(
        command,
        async (core) => {
          const { id } = email
            ? await core.identities.findByEmail(email)
            : await core.identities.get(app ?? '')
          const tokens = await core.tokens.list(id)
          return {
            tokens: tokens.map((token) => ({
              id: token.id,
              name: token.name,
              created_at: instant(token.createdAt),
              last_used_at: instant(token.lastUsedAt),
              expires_at: instant(token.expiresAt),
            })),
          }
        },
        ({ tokens }) => tokens.map(({ id, name }) => `${id}  ${name}`).join('\n') || 'No tokens',
      )
    })

  const revoke = createCommand('revoke', 'end an API token')
    .requiredOption('--id <id>', 'which')
    .action(({ id }: { id: string }, command: Command) =>
      run(
        command,
        async (core) => {
          await core.tokens.revoke(id)
          return { id }
        },
        (token) => `Revoked ${token.id}`,
      ),
    )

  return createGroup('token', 'API tokens', [create, list, revoke])
}

function instantOf(text: string): number {
  const milliseconds = Date.parse(text)
  if (Number.isNaN(milliseconds)) throw new InvalidArgumentError('must be a time')
  return milliseconds
}

function instant(milliseconds: number | null): string | null {
  return milliseconds === null ? null : new Date(milliseconds).toISOString()
}
