import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { type Entry, startProgram } from '../contestant.ts'
import { prepareFiles, removeUploads } from './nginx.ts'

const PORT = 8502
const PROGRAM = fileURLToPath(new URL('../plain-server.ts', import.meta.url))

/** A Node server that only streams to and from a file. */
export const plainNode: Entry = {
  name: 'plain Node',
  missing: () => undefined,
  async start(folder) {
    await mkdir(folder, { recursive: true })
    const program = await startProgram(PORT, process.execPath, [PROGRAM, folder, String(PORT)])
    return {
      port: PORT,
      pids: [program.child.pid as number],
      upload: { method: 'PUT', paths: ['/up-%'], headers: {} },
      prepare: prepareFiles(folder),
      clean: () => removeUploads(folder),
      stop: program.stop,
    }
  },
}
