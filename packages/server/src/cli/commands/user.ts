import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { createCommand, createGroup, type Run } from '../run.ts'

interface CreateOptions {
  email: string
  name: string
  timezone?: string
}

interface SetOptions {
  email: string
  name?: string
  timezone?: string
  pinStdin?: boolean
}

interface Person {
  identity_id: string
  email: string
}

export function userCommand(run: Run): Command {
  const create = createCommand('create', 'make a person')
    .requiredOption('--email <email>', 'how she is reached')
    .requiredOption('--name <name>', 'how she is called')
    .option('--timezone <zone>', 'IANA time zone in which times are shown to her')
    .action(({ email, name, timezone }: CreateOptions, command: Command) =>
      run(
        command,
        async (core) => {
          const { id } = await core.identities.createPerson({ email, name, timeZone: timezone })
          return { identity_id: id, email }
        },
        said('Made'),
      ),
    )

  const set = createCommand('set', 'change a person')
    .requiredOption('--email <email>', 'who')
    .option('--name <name>', 'how she is called')
    .option('--timezone <zone>', 'IANA time zone in which times are shown to her')
    .option('--pin-stdin', 'read a PIN for downloads from standard input')
    .action(({ email, name, timezone, pinStdin }: SetOptions, command: Command) =>
      run(
        command,
        async (core) => {
          const { id } = await core.identities.findByEmail(email)
          await core.identities.change(id, {
            ...(name !== undefined && { displayName: name }),
            ...(timezone !== undefined && { timeZone: timezone }),
          })
          if (pinStdin) await core.pins.set(id, await readLine())
          return { identity_id: id, email }
        },
        said('Changed'),
      ),
    )

  return createGroup('user', 'people', [create, set])
}

/** The first line of standard input: a secret that stands in no argument list. */
async function readLine(): Promise<string> {
  const input = await text(process.stdin)
  return input.split('\n')[0]?.trim() ?? ''
}

function said(verb: string): (person: Person) => string {
  return ({ identity_id, email }) => `${verb} ${email} (${identity_id})`
}
