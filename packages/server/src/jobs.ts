import type { FastifyBaseLogger } from 'fastify'
import type { Core } from './core/core.ts'
import { FOLLOW_EVERY_MS } from './core/keys/epochs.ts'

const HOUR_MS = 3600 * 1000
/** New names are found without the index too, only more slowly. */
const INDEX_EVERY_MS = 250

interface Job {
  name: string
  everyMs: number
  run(): Promise<void>
}

/**
 * Work that no request waits for: begins at once, then runs at intervals, never twice at a time. A
 * failure is logged and tried again at the next turn.
 *
 * @param startedAt when this process started: the sweep leaves what is younger alone
 */
export function startJobs(
  core: Core,
  logger: FastifyBaseLogger,
  startedAt: number,
): { stop(): Promise<void> } {
  const running = jobs(core, logger, startedAt).map((job) => start(job, logger))
  return {
    async stop() {
      await Promise.all(running.map((job) => job.stop()))
    },
  }
}

function jobs(core: Core, logger: FastifyBaseLogger, startedAt: number): Job[] {
  return [
    {
      name: 'follow epochs',
      everyMs: FOLLOW_EVERY_MS,
      run: onceAlike(() => core.epochs.follow()),
    },
    {
      name: 'sweep',
      everyMs: HOUR_MS,
      async run() {
        const report = await core.sweep(startedAt)
        logger[report.suspicious > 0 ? 'error' : 'info'](report, 'swept')
      },
    },
    {
      name: 'clear unfinished',
      everyMs: HOUR_MS,
      run: () => core.clearUnfinished(),
    },
    {
      name: 'purge',
      everyMs: HOUR_MS,
      async run() {
        const purged = await core.accountFiles.purge()
        const expired = await core.downloads.forgetExpired()
        if (purged + expired > 0) logger.info({ purged, expired }, 'purged')
      },
    },
    {
      name: 'tidy index',
      everyMs: HOUR_MS,
      run: () => core.accountFiles.tidyIndex(),
    },
    {
      name: 'expire uploads',
      everyMs: HOUR_MS,
      async run() {
        const expired = await core.companyUploads.expire()
        if (expired > 0) logger.info({ expired }, 'uploads expired')
      },
    },
    {
      name: 'index names',
      everyMs: INDEX_EVERY_MS,
      async run() {
        while (await core.accountFiles.indexNames());
      },
    },
  ]
}

/** Work that tells a failure once, and not again until another one or none has come. */
function onceAlike(work: () => Promise<void>): () => Promise<void> {
  let told: string | undefined
  return async () => {
    try {
      await work()
      told = undefined
    } catch (error) {
      const { message } = error as Error
      if (message === told) return
      told = message
      throw error
    }
  }
}

function start(job: Job, logger: FastifyBaseLogger): { stop(): Promise<void> } {
  let running: Promise<void> | undefined
  function turn(): void {
    running ??= job
      .run()
      .catch((error: unknown) => logger.error({ err: error, job: job.name }, 'job failed'))
      .finally(() => {
        running = undefined
      })
  }
  turn()
  const timer = setInterval(turn, job.everyMs)
  return {
    async stop() {
      clearInterval(timer)
      await running
    },
  }
}
