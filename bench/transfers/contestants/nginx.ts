import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Contestant, type Entry, startProgram } from '../contestant.ts'

/**
 * nginx with `dav` PUT and `sendfile`: what a server reaches that neither encrypts nor syncs.
 *
 * @param bodyBuffer bytes of a body that it keeps in memory; 16k is its own default
 */
export function nginx(name: string, port: number, bodyBuffer: string): Entry {
  return {
    name,
    missing() {
      return spawnSync('nginx', ['-v']).error ? 'nginx is not installed' : undefined
    },
    async start(folder) {
      const data = join(folder, 'data')
      await mkdir(data, { recursive: true })
      await writeFile(join(folder, 'nginx.conf'), settings(folder, port, bodyBuffer))
      const program = await startProgram(port, 'nginx', ['-p', folder, '-c', 'nginx.conf'])
      const master = program.child.pid as number
      return {
        port,
        pids: await childrenOf(master),
        upload: { method: 'PUT', paths: ['/up-%'], headers: {} },
        prepare: prepareFiles(data),
        clean: () => removeUploads(data),
        stop: program.stop,
      } satisfies Contestant
    },
  }
}

/** Files that the server finds under their names. */
export function prepareFiles(folder: string): NonNullable<Contestant['prepare']> {
  return async (size, files) => {
    const names = Array.from({ length: files }, (_, number) => `down-${size}-${number}`)
    for (const name of names) await writeFile(join(folder, name), randomBytes(size))
    return { method: 'GET', paths: names.map((name) => `/${name}`), headers: {} }
  }
}

/** Removes what was uploaded; folders and prepared files stay. */
export async function removeUploads(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.startsWith('down-')) continue
    await rm(join(entry.parentPath, entry.name))
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return text.trim().split(' ').map(Number)
}

function settings(folder: string, port: number, bodyBuffer: string): string {
  return `
user ${process.getuid?.() === 0 ? 'root' : 'nobody'};
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000;
  keepalive_timeout 60;
  client_max_body_size 0;
  client_body_temp_path ${folder}/tmp;
  client_body_buffer_size ${bodyBuffer};
  sendfile on;
  default_type application/octet-stream;
  server {
    listen 127.0.0.1:${port};
    root ${folder}/data;
    location / { dav_methods PUT DELETE; dav_access user:rw; }
  }
}
`
}
