import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { type Entry, startProgram } from '../contestant.ts'
import { removeUploads } from './nginx.ts'

const PORT = 8503
const PROGRAM = fileURLToPath(new URL('../tus-server.ts', import.meta.url))

/** The reference server of resumable uploads; each upload comes with its creation, in one request. */
export const tus: Entry = {
  name: '@tus/server',
  missing: () => undefined,
  async start(folder) {
    await mkdir(folder, { recursive: true })
    const program = await startProgram(PORT, process.execPath, [PROGRAM, folder, String(PORT)])
    const headers = { 'tus-resumable': '1.0.0', 'content-type': 'application/offset+octet-stream' }
    return {
      port: PORT,
      pids: [program.child.pid as number],
      upload: { method: 'POST', paths: ['/files'], headers },
      clean: () => removeUploads(folder),
      stop: program.stop,
    }
  },
}
