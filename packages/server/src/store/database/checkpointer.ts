import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { CheckpointReport, CheckpointTask } from './checkpoint-worker.ts'

const LOOK_EVERY_MS = 100
const PASS_EVERY_MS = 1000
/** 16 MiB of 4 KiB pages. */
const PAGES_TOLERATED = 4096

/**
 * Copies the write-ahead log into the database file, from a thread of its own: once a second, or as
 * soon as much is in the log.
 *
 * A pass copies what was in the log when it began. Beside a busy writer there is always more by its
 * end, so that the log would never start anew and grow without bound: when it is long, `exclusively`
 * keeps writers out for one more short pass, after which the next write starts at the log's beginning.
 */
export async function startCheckpointer(
  file: string,
  exclusively: <T>(work: () => Promise<T>) => Promise<T>,
  onFailure: (error: Error) => void,
): Promise<{ written(): void; close(): Promise<void> }> {
  const worker = new Worker(new URL('./checkpoint-worker.ts', import.meta.url), {
    workerData: file,
  })
  // The first report says that the thread has opened the database.
  await once(worker, 'message')
  worker.on('error', onFailure)
  const exited = new Promise((resolve) => worker.once('exit', resolve))
  let dirty = false
  let passedAt = performance.now()
  let running: Promise<void> | undefined

  async function ask(task: CheckpointTask): Promise<CheckpointReport> {
    worker.postMessage(task)
    const [report] = (await once(worker, 'message')) as [CheckpointReport]
    return report
  }

  async function run(): Promise<void> {
    const { pages } = await ask('look')
    if (pages < PAGES_TOLERATED && performance.now() - passedAt < PASS_EVERY_MS) return
    dirty = false
    await ask('pass')
    if (pages >= PAGES_TOLERATED) await exclusively(() => ask('pass'))
    passedAt = performance.now()
  }

  const timer = setInterval(() => {
    if (!dirty || running !== undefined) return
    running = run()
      .catch(onFailure)
      .finally(() => {
        running = undefined
      })
  }, LOOK_EVERY_MS)
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
