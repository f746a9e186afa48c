import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Duplex, Readable, Writable } from 'node:stream'
import { free } from '../core/memory.ts'
import { RENDERER_ENVIRONMENT } from './isolation.ts'
import {
  createPieceReader,
  encodeFrame,
  MOST_PAGES,
  OUTPUT_DESCRIPTOR,
  type PageHead,
  type PieceReader,
  PREVIEW_HEIGHT,
  PREVIEW_TYPE,
  PREVIEW_WIDTH,
  type Refusal,
  type RenderRequest,
} from './protocol.ts'

/** Of one preview: more than 600 by 400 pixels ever take. */
const MOST_PAGE_BYTES = 2 * 1024 * 1024
/** What a process has leaked by then goes with it. */
const JOBS_PER_PROCESS = 200
/** Refusals before any library has seen the file: the process is as good as before. */
const UNOPENED: readonly string[] = ['unknown_format', 'active_content'] satisfies Refusal[]

/** A preview that a renderer made, held against what a preview must be. */
export interface Rendered {
  readonly type: string
  /** Pixels, like `height`. */
  readonly width: number
  readonly height: number
  readonly bytes: Uint8Array
}

/**
 * A renderer did not make a preview. `ended`: its process came to an unexpected end, which may not have
 * been the file's fault; everything else is final.
 */
export class RenderError extends Error {
  readonly reason: string

  constructor(reason: 'ended' | 'out_of_time' | 'bad_answer' | (string & {})) {
    super(`no preview: ${reason}`)
    this.name = 'RenderError'
    this.reason = reason
  }
}

/** Makes previews in a process of its own, one file at a time. */
export interface Renderer {
  /**
   * @param content read in pieces, as fast as the process takes them
   * @throws RenderError, or what `content` throws
   */
  render(request: RenderRequest, content: AsyncIterable<Uint8Array>): Promise<Rendered[]>
  /** Kills the process; a job that runs ends with it. */
  stop(): Promise<void>
}

export interface RendererOptions {
  readonly command: readonly string[]
  /** Milliseconds that one file may take. */
  readonly timeoutMs: number
  /** Whether a process waits for the next file, as one does that started before. */
  readonly keepsWarm: boolean
}

/** A process that takes jobs. */
interface Process {
  readonly child: ChildProcess
  readonly input: Writable
  readonly answers: PieceReader
  readonly ended: Promise<unknown>
  jobs: number
}

export function createRenderer({ command, timeoutMs, keepsWarm }: RendererOptions): Renderer {
  let current: Process | undefined
  let stopped = false

  function start(): Process {
    const [program = '', ...words] = command
    const child = spawn(program, words, {
      cwd: '/',
      env: RENDERER_ENVIRONMENT,
      stdio: ['pipe', 'ignore', 'ignore', 'pipe'],
      detached: true,
    })
    const input = child.stdin as Writable
    const output = child.stdio[OUTPUT_DESCRIPTOR] as Duplex
    // A process that ends breaks its pipes; its end is what counts.
    for (const pipe of [input, output]) pipe.on('error', () => undefined)
    // It does not keep the server from ending, nor do its pipes.
    child.unref()
    const ended = new Promise((resolve) => {
      child.once('error', resolve).once('exit', resolve)
    })
    return { child, input, answers: createPieceReader(output as Readable), ended, jobs: 0 }
  }

  function kill({ child }: Process): void {
    try {
      // With everything that it started.
      if (child.pid) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // It has ended already.
    }
  }

  function retire(used: Process): void {
    kill(used)
    if (current === used) current = keepsWarm && !stopped ? start() : undefined
  }

  return {
    async render(request, content) {
      if (stopped) throw new RenderError('ended')
      current ??= start()
      const used = current
      used.jobs += 1
      const abort = new AbortController()
      const timer = setTimeout(() => abort.abort(new RenderError('out_of_time')), timeoutMs)
      void used.ended.then(() => abort.abort(new RenderError('ended')))
      try {
        const aborted = once(abort.signal, 'abort').then(() => {
          throw abort.signal.reason
        })
        const work = Promise.all([
          send(used, request, content, abort.signal),
          receive(used.answers),
        ])
        const [, pages] = await Promise.race([work, aborted])
        if (used.jobs >= JOBS_PER_PROCESS || !keepsWarm) retire(used)
        return pages
      } catch (error) {
        const isUnopened = error instanceof RenderError && UNOPENED.includes(error.reason)
        // What a file has done to a process is not found out on the next file.
        if (!isUnopened || !keepsWarm) retire(used)
        throw error
      } finally {
        clearTimeout(timer)
      }
    },

    async stop() {
      stopped = true
      if (!current) return
      current.child.ref()
      kill(current)
      await current.ended
    },
  }
}

async function send(
  { input }: Process,
  request: RenderRequest,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  input.write(encodeFrame(request))
  for await (const piece of content) {
    if (signal.aborted) return
    await new Promise<void>((resolve) => input.write(piece, () => resolve()))
    free(piece)
  }
}

/** @throws RenderError */
async function receive(answers: PieceReader): Promise<Rendered[]> {
  const pages: Rendered[] = []
  for (;;) {
    const frame = await answers.frame().catch(() => {
      throw new RenderError('bad_answer')
    })
    if (frame === undefined) return processEnds()
    const { end, page } = frame as { end?: unknown; page?: unknown }
    if (end === 'done' && pages.length > 0) return pages
    if (end !== undefined) throw new RenderError(String(end))
    if (!isPage(page) || pages.length === MOST_PAGES) throw new RenderError('bad_answer')
    const { size, ...head } = page
    const bytes = await answers.read(size)
    if (bytes === undefined) return processEnds()
    if (!isWebp(bytes)) throw new RenderError('bad_answer')
    pages.push({ ...head, bytes })
  }
}

/** Its last words were said; who waits for its end says so. */
function processEnds(): Promise<never> {
  return new Promise(() => undefined)
}

/** A renderer that a file has taken over is not believed. */
function isPage(page: unknown): page is PageHead['page'] {
  const { type, width, height, size } = (page ?? {}) as Record<string, unknown>
  const isWithin = (value: unknown, most: number) =>
    Number.isInteger(value) && Number(value) >= 1 && Number(value) <= most
  return (
    type === PREVIEW_TYPE &&
    isWithin(width, PREVIEW_WIDTH) &&
    isWithin(height, PREVIEW_HEIGHT) &&
    isWithin(size, MOST_PAGE_BYTES)
  )
}

function isWebp(bytes: Buffer): boolean {
  return /^RIFF[\s\S]{4}WEBP/.test(bytes.toString('latin1', 0, 12))
}
