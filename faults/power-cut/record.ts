import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { bytesOf, type DiskCall } from './disk.ts'
import { type Mark, type People, paths } from './place.ts'
import { parseTrace } from './trace.ts'

/** All that changes what a disk holds, and those of which the disk of the test knows nothing. */
const CALLS = [
  ...['open', 'openat', 'creat', 'write', 'writev', 'pwrite64', 'pwritev', 'pwritev2'],
  ...['ftruncate', 'truncate', 'fallocate', 'fsync', 'fdatasync', 'sync_file_range', 'sync'],
  ...['rename', 'renameat', 'renameat2', 'link', 'linkat', 'symlink', 'symlinkat'],
  ...['unlink', 'unlinkat', 'mkdir', 'mkdirat', 'rmdir', 'copy_file_range', 'sendfile'],
]
/** Longer than any single piece that is written; strings are cut there. */
const LONGEST = 8 * 1024 * 1024

/** A string of a call, but for names and paths. */
const WRITTEN = /"(?:\\x[0-9a-f]{2})*"/g

/** A run of the workload: its system calls in order, some of which are marks. */
export interface Recording {
  /** The folder of the recording. */
  readonly base: string
  readonly rootKeyFile: string | undefined
  readonly people: People
  readonly calls: readonly (DiskCall & { readonly mark?: Mark })[]
}

/**
 * Runs the workload under `strace` in an empty folder.
 *
 * @param rootKeyFile where the root key is made; on the disk, beside the data, without one
 */
export async function record(base: string, rootKeyFile?: string): Promise<Recording> {
  const { trace, people, marks } = paths(base)
  const workload = fileURLToPath(new URL('./workload.ts', import.meta.url))
  const words = ['-f', '--seccomp-bpf', '-y', '-xx', '-s', String(LONGEST)]
  words.push('-e', `trace=${CALLS.join(',')}`, '-o', trace)
  const program = [process.execPath, workload, base, ...(rootKeyFile ? [rootKeyFile] : [])]
  const child = spawn('strace', [...words, ...program], { stdio: ['ignore', 'inherit', 'inherit'] })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`the workload ended with ${code}`)

  const lines = (await readFile(marks, 'utf8')).trimEnd().split('\n')
  const marksHex = hexOf(marks)
  const calls: Recording['calls'][number][] = []
  for await (const call of parseTrace(createInterface({ input: createReadStream(trace) }))) {
    const isMark = call.name === 'write' && call.text.includes(`<${marksHex}>`)
    calls.push(isMark ? { ...call, mark: JSON.parse(lines.shift() ?? '') } : withBytes(call))
  }
  return {
    base,
    rootKeyFile,
    people: JSON.parse(await readFile(people, 'utf8')),
    calls,
  }
}

/** What is written takes four characters a byte in the trace. */
function withBytes(call: DiskCall): DiskCall {
  if (!/write/.test(call.name)) return call
  return { ...call, bytes: bytesOf(call.text), text: call.text.replaceAll(WRITTEN, '""') }
}

/** As `strace -xx` writes it. */
function hexOf(text: string): string {
  return Buffer.from(text).toString('hex').replaceAll(/../g, '\\x$&')
}
