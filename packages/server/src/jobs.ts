import type { FastifyBaseLogger } from 'fastify'
import type { Core } from './core/core.ts'
import { FOLLOW_EVERY_MS } from './core/keys/epochs.ts'
import { type Lease, RENEW_EVERY_MS } from './core/processes/lease.ts'
import { BEAT_EVERY_MS, type Processes } from './core/processes/processes.ts'
import type { Metrics } from './http/metrics.ts'

const HOUR_MS = 3600 * 1000
/** New names are found without the index too, only more slowly. */
const INDEX_EVERY_MS = 250
const SCRUB_LOOKED_AT_MS = 10 * 60_000

interface Job {
  name: string
  everyMs: number
  /** What comes round seldom need not add to the work of a start. */
  waitsFirst?: boolean
  /** @param signal aborts when the server stops */
  run(signal: AbortSignal): Promise<void>
}

interface JobParts {
  core: Core
  logger: FastifyBaseLogger
  metrics: Metrics
  /** When this process started: the sweep leaves what is younger alone. */
  startedAt: number
  /** Bytes a second; 0 is no scrub. */
  scrubRate: number
}

/**
 * Work that no request waits for: begins at once, then runs at intervals, never twice at a time. A
 * failure is logged and tried again at the next turn. Where several servers work on the store, one of
 * them does it, as long as it has the lease.
 */
export function startJobs(parts: JobParts): Running {
  const { logger } = parts
  const { processes, jobsLease: lease } = parts.core
  const own = [followJob(parts), ...(processes ? [beatJob(processes, parts)] : [])]
  const common = () => startAll(commonJobs(parts), logger)
  return startAll(own, logger, lease ? whileHeld(lease, common, logger) : common())
}

interface Running {
  stop(): Promise<void>
}

function startAll(jobs: readonly Job[], logger: FastifyBaseLogger, ...others: Running[]): Running {
  const running = [...jobs.map((job) => start(job, logger)), ...others]
  return {
    async stop() {
      await Promise.all(running.map((each) => each.stop()))
    },
  }
}

/** Runs work as long as this process has a lease, and lets another one do so when it is stopped. */
function whileHeld(lease: Lease, begin: () => Running, logger: FastifyBaseLogger): Running {
  let work: Running | undefined
  const taking = start(
    {
      name: 'lease',
      everyMs: RENEW_EVERY_MS,
      run: onceAlike(async () => {
        try {
          await lease.take()
        } finally {
          if (!lease.isHeld()) await end()
          else if (!work) {
            logger.info('does the jobs of all servers now')
            work = begin()
          }
        }
      }),
    },
    logger,
  )

  async function end(): Promise<void> {
    const ending = work
    work = undefined
    await ending?.stop()
  }

  return {
    async stop() {
      await taking.stop()
      await end()
      // If that fails it ends by time.
      await lease.giveBack().catch(() => undefined)
    },
  }
}

/** What each process does for itself. */
function followJob({ core }: JobParts): Job {
  return {
    name: 'follow epochs',
    everyMs: FOLLOW_EVERY_MS,
    run: onceAlike(() => core.epochs.follow()),
  }
}

/** Tells the other servers of the store that this one is there. */
function beatJob(processes: Processes, { logger }: JobParts): Job {
  return {
    name: 'beat',
    everyMs: BEAT_EVERY_MS,
    waitsFirst: true,
    run: onceAlike(async () => {
      if (!(await processes.beat())) logger.warn('other servers had taken this one for dead')
    }),
  }
}

/** What one process does for the store. */
function commonJobs(parts: JobParts): Job[] {
  const { core, logger, startedAt } = parts
  return [
    ...(parts.scrubRate > 0 ? [scrubJob(parts)] : []),
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
        await core.requestCounts?.forgetEnded()
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
      run: onceAlike(async () => {
        while (await core.accountFiles.indexNames());
      }),
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

/** Opens everything that is stored about once a month; an operator's own scrub goes before it. */
function scrubJob({ core, logger, metrics, scrubRate: rate }: JobParts): Job {
  const { scrub } = core.checks
  return {
    name: 'scrub',
    everyMs: SCRUB_LOOKED_AT_MS,
    waitsFirst: true,
    async run(signal) {
      if (!(await scrub.isDue())) return
      const { findings: _, ...report } = await scrub.run({
        rate,
        signal,
        background: true,
        most: 0,
        onOpened: (bytes) => metrics.scrubbedBytes.inc(bytes),
        onFinding(finding) {
          metrics.integrityFailures.inc({ dialect: 'scrub' })
          logger.error(finding, 'scrub: stored bytes are not what was written')
        },
      })
      if (report.finishedAt !== null) logger.info(report, 'scrubbed')
    },
  }
}

function start(job: Job, logger: FastifyBaseLogger): Running {
  const ending = new AbortController()
  let running: Promise<void> | undefined
  function turn(): void {
    running ??= job
      .run(ending.signal)
      .catch((error: unknown) => logger.error({ err: error, job: job.name }, 'job failed'))
      .finally(() => {
        running = undefined
      })
  }
  if (!job.waitsFirst) turn()
  const timer = setInterval(turn, job.everyMs)
  return {
    async stop() {
      clearInterval(timer)
      ending.abort()
      await running
    },
  }
}
