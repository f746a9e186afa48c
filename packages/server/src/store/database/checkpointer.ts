import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { CheckpointReport } from './checkpoint-worker.ts'

const EVERY_MS = 1000
/** 16 MiB of 4 KiB pages. */
const PAGES_TOLERATED = 4096

/**
 * Copies the write-ahead log into the database file, from a thread of its own.
 *
 * A passive pass beside a busy writer never reaches the log's end, so the log would grow without
 * bound: when much is left, `exclusively` keeps writers out for one more short pass, after which the
 * next write starts the log anew.
 */
export function startCheckpointer(
  file: string,
  exclusively: <T>(work: () => Promise<T>) => Promise<T>,
  onFailure: (error: Error) => void,
): { written(): void; close(): Promise<void> } {
  const worker = new Worker(new URL('./checkpoint-worker.ts', import.meta.url), {
    workerData: file,
  })
  worker.on('error', onFailure)
  const exited = new Promise((resolve) => worker.once('exit', resolve))
  let dirty = false
  let running: Promise<void> | undefined

  async function pass(): Promise<CheckpointReport> {
    worker.postMessage('pass')
    const [report] = (await once(worker, 'message')) as [CheckpointReport]
    return report
  }

  async function run(): Promise<void> {
    dirty = false
    const { pagesLeft } = await pass()
    if (pagesLeft > PAGES_TOLERATED) await exclusively(pass)
  }

  const timer = setInterval(() => {
    if (!dirty || running !== undefined) return
    running = run()
      .catch(onFailure)
      .finally(() => {
        running = undefined
      })
  }, EVERY_MS)
  timer.unref()
  worker.unref()

  return {
    written() {
      dirty = true
    },
    async close() {
      clearInterval(timer)
      await running
      worker.ref()
      worker.postMessage('close')
      await exited
    },
  }
}
