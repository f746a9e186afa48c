import { spawn, spawnSync } from 'node:child_process'
import { mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type Scope, testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { eventually, ROOT } from './processes.ts'

const START_MS = 10_000

/** An nginx before some servers, as `deploy/nginx.conf` has it. */
export interface Nginx {
  /** Where it listens, as an http address. */
  readonly address: string
  /** Files that it keeps bodies in just now; they have no names any more. */
  bodiesOnDisk(): Promise<string[]>
  /** All that it has logged, wherever. */
  logged(): Promise<string>
}

/**
 * Starts an nginx with the example's configuration, but for its own address, its certificate, and the
 * servers behind it. It ends with the test.
 */
export async function startNginx(t: Scope, addresses: readonly string[]): Promise<Nginx> {
  const folder = await testFolder(t)
  const port = await freePort()
  const site = await readFile(join(ROOT, 'deploy/nginx.conf'), 'utf8')
  const servers = addresses.map((address) => `server ${new URL(address).host};`)
  await writeFile(
    join(folder, 'site.conf'),
    changed(site, [
      [/ {4}server 127\.0\.0\.1:8420;/, servers.join(' ')],
      [/listen 443 ssl http2;/, `listen 127.0.0.1:${port};`],
      [/ *listen \[::\]:443 ssl http2;\n/, ''],
      [/ *ssl_certificate .*\n *ssl_certificate_key .*\n/, ''],
      [/\/var\/log\/nginx/g, folder],
    ]),
  )
  await mkdir(join(folder, 'body'))
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const root = process.getuid?.() === 0 ? 'user root;' : ''
  const conf = `${root} daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
    events {} http { ${temporary.map((name) => `${name}_temp_path ${folder}/body/${name};`).join(' ')}
    include ${folder}/site.conf; }`
  await writeFile(join(folder, 'nginx.conf'), conf)
  const words = ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')]
  const checked = spawnSync('nginx', ['-t', ...words], { encoding: 'utf8' })
  if (checked.status !== 0) throw new Error(checked.stderr)
  const child = spawn('nginx', words, { stdio: 'inherit' })
  t.after(() => child.kill('SIGTERM'))
  const address = `http://127.0.0.1:${port}`
  await eventually('nginx listens', START_MS, async () => {
    const answer = await fetch(`${address}/health/live`).catch(() => undefined)
    await answer?.arrayBuffer()
    return answer?.ok || undefined
  })
  return {
    address,
    async bodiesOnDisk() {
      const workers = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
      const open = workers
        .trim()
        .split(' ')
        .map((pid) => openFiles(pid))
      return (await Promise.all(open)).flat().filter((file) => file.startsWith(`${folder}/body/`))
    },
    async logged() {
      const logs = (await readdir(folder)).filter((name) => name.endsWith('.log'))
      const texts = await Promise.all(logs.map((name) => readFile(join(folder, name), 'utf8')))
      return texts.join('')
    },
  }
}

async function openFiles(pid: string): Promise<string[]> {
  const folder = `/proc/${pid}/fd`
  const links = (await readdir(folder)).map((name) => readlink(join(folder, name)))
  const found = await Promise.allSettled(links)
  return found.flatMap((link) => (link.status === 'fulfilled' ? [link.value] : []))
}

/** Every change has to find its place: the example is what is tested. */
function changed(text: string, changes: readonly (readonly [RegExp, string])[]): string {
  return changes.reduce((before, [pattern, replacement]) => {
    if (!pattern.test(before)) throw new Error(`deploy/nginx.conf has no ${pattern}`)
    return before.replace(pattern, replacement)
  }, text)
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
