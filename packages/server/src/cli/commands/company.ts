import type { Command } from 'commander'
import type { Core } from '../../core/core.ts'
import { createCommand, createGroup, type Run } from '../run.ts'

interface CreateOptions {
  name: string
  owner: string[]
  manager: string[]
  member: string[]
}

export function companyCommand(run: Run): Command {
  const create = createCommand('create', 'make a company')
    .requiredOption('--name <name>', 'how it is called')
    .option('--owner <email...>', 'who owns it', [])
    .option('--manager <email...>', 'who manages it', [])
    .option('--member <email...>', 'who else belongs to it', [])
    .action(({ name, owner, manager, member }: CreateOptions, command: Command) =>
      run(
        command,
        async (core) => {
          const { id } = await core.companies.create({
            name,
            owners: await idsOf(core, owner),
            managers: await idsOf(core, manager),
            members: await idsOf(core, member),
          })
          return { company_id: id }
        },
        ({ company_id }) => `Made ${name} (${company_id})`,
      ),
    )

  return createGroup('company', 'companies', [create])
}

async function idsOf(core: Core, emails: readonly string[]): Promise<string[]> {
  const people = await Promise.all(emails.map((email) => core.identities.findByEmail(email)))
  return people.map(({ id }) => id)
}
