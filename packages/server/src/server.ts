import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { buildApp } from './app.ts'
import type { Config } from './config.ts'
import type { Core } from './core/core.ts'
import { PREVIEW_KINDS } from './core/previews/formats.ts'
import { createMetrics } from './http/metrics.ts'
import { startJobs } from './jobs.ts'
import { openForServer } from './open.ts'
import { findAbilities } from './previews/isolation.ts'
import { startPreviewRunner } from './previews/runner.ts'
import type { Observe } from './store/blobs/s3/attempts.ts'
import { type Files, nodeFiles } from './store/files.ts'

/** A server that listens. */
export interface Server {
  readonly app: FastifyInstance
  readonly core: Core
  /** Where it listens, as an http address. */
  readonly address: string
  readonly madeRootKey: boolean
  /** Lets running requests end, then gives the store free. */
  close(): Promise<void>
}

/**
 * Opens the store, listens, and cleans up behind earlier crashes while it already serves.
 *
 * @param onFailure told when nothing can be acknowledged any more: the process should end
 * @param files through which objects on a disk are kept
 * @throws FolderError, RootKeyError, KeyringError, BucketError
 */
export async function startServer(
  config: Config,
  logger: FastifyBaseLogger,
  onFailure: (error: Error) => void,
  clock: () => number = Date.now,
  files: Files = nodeFiles,
): Promise<Server> {
  const startedAt = clock()
  const metrics = createMetrics()
  const observe: Observe = (operation, outcome, seconds) =>
    metrics.bucketRequests.observe({ operation, outcome }, seconds)
  const abilities = await findAbilities(config.previewMax)
  const previewKinds = PREVIEW_KINDS.filter((kind) => abilities.kinds[kind] === 'on')
  const onWait = (what: string) => logger.info(what)
  const options = { files, observe, previewKinds, onWait }
  const store = await openForServer(config, clock, onFailure, options)
  try {
    const app = await buildApp(store.core, config, logger, metrics)
    const address = await app.listen({ host: config.host, port: config.port })
    const { scrubRate } = config
    const jobs = startJobs({ core: store.core, logger, metrics, startedAt, scrubRate })
    logger.info(abilities, 'previews')
    for (const kind of PREVIEW_KINDS)
      metrics.previewKinds.set({ kind }, Number(previewKinds.includes(kind)))
    const previews = await startPreviewRunner(store.core, abilities, logger, (result) =>
      metrics.previews.inc({ result }),
    )
    return {
      app,
      core: store.core,
      address,
      madeRootKey: store.madeRootKey,
      async close() {
        // First: requests wait for previews.
        await previews.stop()
        await app.close()
        await jobs.stop()
        await store.close()
      },
    }
  } catch (error) {
    await store.close()
    throw error
  }
}
