import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { environmentOf, ROOT, SERVER } from '../../../e2e/processes.ts'
import { loadConfig } from '../../../packages/server/src/config.ts'
import { openForCommand } from '../../../packages/server/src/open.ts'
import { type Entry, type Request, startProgram } from '../contestant.ts'
import { ask } from '../run-client.ts'
import { removeUploads } from './nginx.ts'

const PORT = 8500

/** Holdfast as `npm start` starts it, through the company files' API, with everything on. */
export const holdfast: Entry = holdfastWith(['--trace-gc'])

/** @param flags for Node, besides those of `npm start` */
export function holdfastWith(flags: readonly string[]): Entry {
  return {
    name: 'Holdfast',
    missing: () => undefined,
    async start(folder) {
      await mkdir(folder, { recursive: true })
      const settings = {
        HOLDFAST_DATA: join(folder, 'data'),
        HOLDFAST_PORT: String(PORT),
        HOLDFAST_LOG_LEVEL: 'warn',
        HOLDFAST_PREVIEW_MAX_MB: '0',
      }
      const words = [...flags, ...SERVER]
      const environment = environmentOf(settings)
      const program = await startProgram(PORT, process.execPath, words, environment, ROOT)
      const files = await companyFiles(settings)
      return {
        port: PORT,
        pids: [program.child.pid as number],
        upload: { ...files, method: 'POST', part: 'file' },
        async prepare(size, count) {
          const paths: string[] = []
          for (let number = 0; number < count; number += 1) {
            const upload = { ...files, method: 'POST', part: 'file', port: PORT, size }
            const { answer } = await ask({ ...upload, requests: 1, connections: 1, first: 0 })
            paths.push(`${files.paths[0]}/${JSON.parse(answer).resource.id}/download`)
          }
          return { ...files, method: 'GET', paths }
        },
        collections: () => program.output().match(/Mark-Compact/g)?.length ?? 0,
        // By hand, as for the others: the rows that stay are few and are not asked for again.
        clean: () => removeUploads(join(folder, 'data', 'blobs')),
        stop: program.stop,
      }
    },
  }
}

/** A company with one member who has a token. */
async function companyFiles(settings: NodeJS.ProcessEnv): Promise<Omit<Request, 'method'>> {
  const store = await openForCommand(loadConfig(settings), Date.now)
  try {
    const { identities, tokens, companies } = store.core
    const { id } = await identities.createPerson({ email: 'mia@example.com', name: 'Mia' })
    const { token } = await tokens.create(id, 'bench')
    const company = await companies.create({
      name: 'Acme',
      owners: [],
      managers: [],
      members: [id],
    })
    return {
      paths: [`/internal/services/files/v1/companies/${company.id}/files`],
      headers: { authorization: `Bearer ${token}` },
    }
  } finally {
    await store.close()
  }
}
