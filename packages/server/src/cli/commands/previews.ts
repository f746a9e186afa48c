import type { Command } from 'commander'
import { PREVIEW_KINDS } from '../../core/previews/formats.ts'
import { findAbilities } from '../../previews/isolation.ts'
import { createCommand, type Run } from '../run.ts'

/** What can be shown here: told to whoever has the store, and to nobody over the network. */
export function previewsCommand(run: Run): Command {
  return createCommand('previews', 'what previews are made of on this machine, and how').action(
    (_options: object, command: Command) =>
      run(
        command,
        async ({ previewJobs }) => {
          const { isolation, kinds } = await findAbilities(previewJobs.maxBytes)
          return { isolation, kinds, ...(await previewJobs.count()) }
        },
        ({ isolation, kinds, waiting, failed }) =>
          [
            ...PREVIEW_KINDS.map((kind) => `${kind}: ${kinds[kind]}`),
            `isolation: ${isolation}`,
            `${waiting} files wait, ${failed} could not be shown`,
          ].join('\n'),
      ),
  )
}
