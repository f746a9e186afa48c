import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import type { Core } from '../core/core.ts'
import { CoreError } from '../core/errors.ts'
import {
  LEASE_MS,
  type PreviewJob,
  type PreviewPace,
  type PreviewPage,
} from '../core/previews/jobs.ts'
import { type PreviewAbilities, rendererCommand } from './isolation.ts'
import { createRenderer, RenderError, type Rendered, type Renderer } from './renderer.ts'

/** Milliseconds that one file may take. */
const TIMEOUTS: Record<PreviewPace, number> = { quick: 20_000, slow: 60_000 }
/** How often a worker looks for what nobody told it of: jobs of processes that died. */
const POLL_MS = 3000
const RENEW_MS = LEASE_MS / 4

/** What became of a job. */
export type PreviewResult = 'made' | 'failed' | 'again'

/** Workers of this process. */
export interface PreviewRunner {
  /** Kills what renders, gives its jobs back and lets those go who wait for previews. */
  stop(): Promise<void>
}

/**
 * Makes previews: one worker for pictures and PDF, and one for what other programs take seconds for.
 *
 * @param onResult told of each job that ended
 */
export async function startPreviewRunner(
  core: Core,
  { isolation, kinds }: PreviewAbilities,
  logger: FastifyBaseLogger,
  onResult: (result: PreviewResult) => void,
): Promise<PreviewRunner> {
  const paces: PreviewPace[] = []
  if (kinds.image === 'on' || kinds.pdf === 'on') paces.push('quick')
  if (kinds.office === 'on' || kinds.video === 'on') paces.push('slow')
  const workers = await Promise.all(
    paces.map(async (pace) => {
      const renderer = createRenderer({
        command: await rendererCommand(isolation, pace),
        timeoutMs: TIMEOUTS[pace],
        keepsWarm: pace === 'quick',
      })
      return startWorker(core, renderer, pace, logger, onResult)
    }),
  )
  return {
    async stop() {
      core.previewJobs.stop()
      await Promise.all(workers.map((worker) => worker.stop()))
    },
  }
}

function startWorker(
  core: Core,
  renderer: Renderer,
  pace: PreviewPace,
  logger: FastifyBaseLogger,
  onResult: (result: PreviewResult) => void,
): PreviewRunner {
  const { previewJobs } = core
  const owner = randomUUID()
  let stopped = false
  let isWanted = false
  let running: Promise<void> | undefined

  async function work(): Promise<void> {
    while (isWanted && !stopped) {
      isWanted = false
      for (;;) {
        const job = stopped ? undefined : await previewJobs.take(owner, pace)
        if (!job) break
        onResult(await perform(job))
      }
    }
  }

  function wake(): void {
    isWanted = true
    running ??= work()
      .catch((error: unknown) => logger.error({ err: error }, 'previews failed'))
      .finally(() => {
        running = undefined
      })
  }

  async function perform(job: PreviewJob): Promise<PreviewResult> {
    const renewal = setInterval(() => {
      previewJobs.renew(job).catch((error: unknown) => logger.error({ err: error }, 'not renewed'))
    }, RENEW_MS)
    const release = core.blobs.hold(job.blob.id)
    try {
      const { blob, format } = job
      const pages = await renderer.render(
        { ...format, size: blob.size },
        core.blobs.read(blob, 0, blob.size),
      )
      await previewJobs.finish(job, await stagePages(core, pages))
      return 'made'
    } catch (error) {
      return await giveUp(job, error)
    } finally {
      clearInterval(renewal)
      release()
    }
  }

  async function giveUp(job: PreviewJob, error: unknown): Promise<PreviewResult> {
    if (stopped) {
      await previewJobs.giveBack(job, 'stopped')
      return 'again'
    }
    if (error instanceof RenderError) {
      logger.info({ kind: job.format.kind, reason: error.reason }, 'no preview')
      if (error.reason === 'ended') {
        await previewJobs.giveBack(job, 'died')
        return 'again'
      }
    } else {
      logger.error({ err: error }, 'no preview')
      if (!isDamage(error)) {
        await previewJobs.giveBack(job, 'broken')
        return 'again'
      }
    }
    await previewJobs.fail(job)
    return 'failed'
  }

  const unsubscribe = previewJobs.onWork(wake)
  const timer = setInterval(wake, POLL_MS)
  wake()
  return {
    async stop() {
      stopped = true
      unsubscribe()
      clearInterval(timer)
      await renderer.stop()
      await running
    },
  }
}

async function stagePages(core: Core, pages: readonly Rendered[]): Promise<PreviewPage[]> {
  const staged: PreviewPage[] = []
  try {
    for (const { bytes, type, width, height } of pages) {
      const blob = await core.blobs.stage(once(bytes), bytes.byteLength)
      staged.push({ type, width, height, staged: blob })
    }
    return staged
  } catch (error) {
    await Promise.all(staged.map((page) => core.blobs.discard(page.staged)))
    throw error
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

/** Whether what is stored is damaged: trying again would not help. */
function isDamage(error: unknown): boolean {
  return (
    error instanceof CoreError && (error.code === 'integrity' || error.code === 'file_not_found')
  )
}
