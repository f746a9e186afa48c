import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Cell } from './cells.ts'
import type { Job } from './client.ts'

/** How a contestant is asked, apart from how much of it. */
export type Request = Pick<Job, 'method' | 'paths' | 'headers'> & { readonly part?: string }

/** A server that runs, with empty folders. */
export interface Contestant {
  readonly port: number
  /** Every process whose CPU time and memory count. */
  readonly pids: readonly number[]
  /** Uploads of content under a new name each time. */
  readonly upload: Request
  /**
   * Makes files of one size; undefined when nothing can be downloaded.
   *
   * @returns how to download them
   */
  prepare?(size: number, files: number): Promise<Request>
  /** Full garbage collections so far, where there are any. */
  collections?(): number
  /** Removes what uploads left, so that the disk does not fill up. */
  clean(): Promise<void>
  stop(): Promise<void>
}

/** A server to compare. */
export interface Entry {
  readonly name: string
  /** Why it cannot take part on this machine, or undefined. */
  missing(): string | undefined
  /** @param folder empty, its own */
  start(folder: string): Promise<Contestant>
}

/** How a case is asked of a contestant; undefined when that cannot do it. */
export async function requestFor(
  { kind, size, files }: Cell,
  contestant: Contestant,
): Promise<Request | undefined> {
  return kind === 'upload' ? contestant.upload : contestant.prepare?.(size, files)
}

/** @param first the number of the first request, which no other had */
export function jobOf(cell: Cell, { port }: Contestant, request: Request, first: number): Job {
  const { kind, size, requests, connections, range } = cell
  const isUpload = kind === 'upload'
  const headers = { ...request.headers }
  if (isUpload && 'tus-resumable' in headers) headers['upload-length'] = String(size)
  return {
    ...request,
    headers,
    port,
    size: isUpload ? size : 0,
    requests,
    connections,
    first,
    ...(range && { range }),
  }
}

/** Starts a program and waits until its port is open. */
export async function startProgram(
  port: number,
  file: string,
  words: readonly string[],
  environment: NodeJS.ProcessEnv = {},
  cwd = process.cwd(),
): Promise<{ child: ChildProcess; output(): string; stop(): Promise<void> }> {
  const child = spawn(file, words, {
    cwd,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  while (!(await isOpen(port))) {
    if (child.exitCode !== null) throw new Error(`${file} ended: ${output}`)
    await delay(20)
  }
  return {
    child,
    output: () => output,
    async stop() {
      if (child.exitCode !== null) return
      const ended = once(child, 'close')
      child.kill('SIGTERM')
      await ended
    },
  }
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
