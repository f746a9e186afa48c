import rateLimit, {
  type FastifyRateLimitStore,
  type FastifyRateLimitStoreCtor,
} from '@fastify/rate-limit'
import type { FastifyInstance } from 'fastify'
import type { RequestCounts } from '../../core/processes/request-counts.ts'
import { PrivasferError } from './errors.ts'

const WINDOW_MS = 60_000

/**
 * Limits requests per address in windows of a minute from the first one, with the headers that clients
 * of this API know: limit and remaining on every answer, reset (a Unix time) and Retry-After beyond.
 *
 * @param limit requests a window; 0 is no limit and no headers
 * @param counts of all servers together; without them this one counts by itself
 */
export async function limitRate(
  app: FastifyInstance,
  limit: number,
  counts: RequestCounts | undefined,
): Promise<void> {
  if (limit === 0) return
  await app.register(rateLimit, {
    global: false,
    max: limit,
    timeWindow: WINDOW_MS,
    ...(counts && { store: storeOver(counts) }),
    addHeaders: {
      'x-ratelimit-limit': true,
      'x-ratelimit-remaining': true,
      'x-ratelimit-reset': false,
      'retry-after': true,
    },
    addHeadersOnExceeding: {
      'x-ratelimit-limit': true,
      'x-ratelimit-remaining': true,
      'x-ratelimit-reset': false,
    },
    errorResponseBuilder: (_request, { ttl }) => new RateLimitError(ttl),
  })
  // One hook for all, so that what no route answers and what has no token counts too.
  app.addHook('onRequest', app.rateLimit())
  app.addHook('onError', async (_request, reply, error) => {
    if (error instanceof RateLimitError) reply.header('x-ratelimit-reset', error.resetAt)
  })
}

/** The counts in the form in which the plugin wants them: of something that `new` makes. */
function storeOver(counts: RequestCounts): FastifyRateLimitStoreCtor {
  const store: FastifyRateLimitStore = {
    incr(address, done, windowMs) {
      counts.count(address, windowMs).then(
        ({ requests, leftMs }) => done(null, { current: requests, ttl: leftMs }),
        (error: Error) => done(error),
      )
    },
    child: () => store,
  }
  function Store(): FastifyRateLimitStore {
    return store
  }
  return Store as unknown as FastifyRateLimitStoreCtor
}

class RateLimitError extends PrivasferError {
  /** Unix time in seconds. */
  readonly resetAt: number

  constructor(leftMs: number) {
    super(429, 'Too Many Attempts.')
    this.resetAt = Math.ceil((Date.now() + leftMs) / 1000)
  }
}
