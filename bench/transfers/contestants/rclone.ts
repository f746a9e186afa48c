import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Entry, startProgram } from '../contestant.ts'
import { removeUploads } from './nginx.ts'

const PORT = 8504

/** rclone's encrypted folder behind its WebDAV server. */
export const rclone: Entry = {
  name: 'rclone crypt',
  missing: () => (spawnSync('rclone', ['version']).error ? 'rclone is not installed' : undefined),
  async start(folder) {
    const data = join(folder, 'data')
    await mkdir(data, { recursive: true })
    const password = spawnSync('rclone', ['obscure', 'bench'], { encoding: 'utf8' }).stdout.trim()
    const config = join(folder, 'rclone.conf')
    await writeFile(config, `[c]\ntype = crypt\nremote = ${data}\npassword = ${password}\n`)
    const words = ['serve', 'webdav', 'c:', '--config', config, '--addr', `127.0.0.1:${PORT}`]
    const program = await startProgram(PORT, 'rclone', words)
    return {
      port: PORT,
      pids: [program.child.pid as number],
      upload: { method: 'PUT', paths: ['/up-%'], headers: {} },
      clean: () => removeUploads(data),
      stop: program.stop,
    }
  },
}
