import { type Command, InvalidArgumentError } from 'commander'
import type { Acr } from '../../core/schema.ts'
import { csrfTokenOf } from '../../core/secrets.ts'
import { createCommand, createGroup, type Run } from '../run.ts'

const DEFAULT_ACR: Acr = 2

interface CreateOptions {
  email: string
  acr: Acr
  curl?: boolean
}

interface NewSession {
  accesstoken: string
  tokentype: string
  csrf_token: string
  expires_at: string
}

export function sessionCommand(run: Run): Command {
  const create = createCommand('create', 'sign a person in')
    .requiredOption('--email <email>', 'who')
    .option(
      '--acr <1..4>',
      'assurance: 1 code, 2 password, 3 one-time code, 4 passkey',
      acr,
      DEFAULT_ACR,
    )
    .option('--curl', 'print a file for curl -K, so that the token is in no argument list')
    .action(({ email, acr: level, curl }: CreateOptions, command: Command) =>
      run(
        command,
        async (core) => {
          const { id } = await core.identities.findByEmail(email)
          const { token, session } = await core.sessions.create(id, level)
          return {
            identity_id: id,
            accesstoken: token,
            tokentype: 'bearer',
            csrf_token: csrfTokenOf(token),
            expires_at: new Date(session.expiresAt).toISOString(),
          }
        },
        (session) => (curl ? curlConfig(session) : words(session)),
      ),
    )

  return createGroup('session', 'signed-in clients', [create])
}

function words(session: NewSession): string {
  return [
    `Cookie: ${cookies(session)}`,
    `X-CSRF-Token: ${session.csrf_token}`,
    `Until ${session.expires_at}`,
  ].join('\n')
}

function curlConfig(session: NewSession): string {
  return `cookie = "${cookies(session)}"\nheader = "X-CSRF-Token: ${session.csrf_token}"`
}

function cookies({ accesstoken, tokentype }: NewSession): string {
  return `accesstoken=${accesstoken}; tokentype=${tokentype}`
}

function acr(text: string): Acr {
  const level = Number(text)
  if (level === 1 || level === 2 || level === 3 || level === 4) return level
  throw new InvalidArgumentError('must be 1, 2, 3 or 4')
}
