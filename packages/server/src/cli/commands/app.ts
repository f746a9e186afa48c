import type { Command } from 'commander'
import { createCommand, createGroup, type Run } from '../run.ts'

export function appCommand(run: Run): Command {
  const create = createCommand('create', 'make an application of a company')
    .requiredOption('--company <id>', 'whose')
    .requiredOption('--name <name>', 'how it is called')
    .action(({ company, name }: { company: string; name: string }, command: Command) =>
      run(
        command,
        async (core) => {
          const { applicationId, token } = await core.companies.createApplication(company, name)
          return { app_id: applicationId, token }
        },
        ({ app_id, token }) => `${token}\n(application ${app_id}; the token is shown only now)`,
      ),
    )

  return createGroup('app', 'applications', [create])
}
