import { randomUUID } from 'node:crypto'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify'
import type { Config } from './config.ts'
import type { Core } from './core/core.ts'
import { CoreError } from './core/errors.ts'
import { dialects } from './dialects/index.ts'
import { answerClientError } from './http/client-error.ts'
import { statusOf } from './http/failure.ts'
import { acceptEmptyJson } from './http/json-body.ts'
import type { Metrics } from './http/metrics.ts'
import { sendProblem } from './http/problem.ts'
import { cutSlowBodies } from './http/slow-body.ts'
import { readOnAfterRefusal } from './http/unread-body.ts'
import { validateStrictly } from './http/validation.ts'

/** JSON bodies hold names and encrypted messages, never files. */
const JSON_LIMIT = 2 * 1024 * 1024
const IDLE_CONNECTION_MS = 75_000
const IDLE_TRANSFER_MS = 120_000
const HEADERS_MS = 30_000
/** As long as a head can be: what is too long is for schemas to refuse, in the dialect's shape. */
const LONGEST_PARAMETER = 16 * 1024
const REQUEST_ID = /^[\w.-]{1,64}$/

declare module 'fastify' {
  interface FastifyInstance {
    readonly metrics: Metrics
    /** The name of the dialect that a scope belongs to. */
    readonly dialect?: string
    /** Logs and counts an error that the client is not told about. */
    reportFailure(request: FastifyRequest, error: unknown): void
  }
}

/** The HTTP server: what all dialects share, and the dialects. Listens to nothing yet. */
export async function buildApp(
  core: Core,
  config: Config,
  logger: FastifyBaseLogger,
  metrics: Metrics,
): Promise<FastifyInstance> {
  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: JSON_LIMIT,
    routerOptions: { maxParamLength: LONGEST_PARAMETER },
    rewriteUrl: ({ url = '/' }) => routable(url),
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    requestIdHeader: false,
    genReqId: ({ headers }) => {
      const given = headers['x-request-id']
      return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID()
    },
    keepAliveTimeout: IDLE_CONNECTION_MS,
    // A whole request may take as long as its bytes keep coming: bodies have limits of their own.
    requestTimeout: 0,
    // A client that neither sends nor reads is cut off.
    connectionTimeout: IDLE_TRANSFER_MS,
    http: { headersTimeout: HEADERS_MS },
    clientErrorHandler: answerClientError,
    return503OnClosing: true,
    forceCloseConnections: 'idle',
  })
  app.decorate('metrics', metrics)
  app.decorate('reportFailure', (request: FastifyRequest, error: unknown) => {
    if (error instanceof CoreError && error.code === 'integrity') {
      metrics.integrityFailures.inc({ dialect: request.server.dialect ?? 'none' })
    }
    request.log.error({ err: error, route: request.routeOptions.url }, 'failed')
  })

  acceptEmptyJson(app)
  validateStrictly(app)
  readOnAfterRefusal(app)
  cutSlowBodies(app)
  await app.register(cookie)
  if (config.allowedOrigins.length > 0) await app.register(cors, corsOptions(config))

  app.addHook('onRequest', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff')
  })
  // The route's pattern, never the address: some addresses carry secrets.
  app.addHook('onResponse', async (request, reply) => {
    request.log.info(
      {
        method: request.method,
        route: request.routeOptions.url,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      },
      'answered',
    )
  })
  let closing = false
  app.addHook('preClose', async () => {
    closing = true
  })
  app.addHook('onResponse', async (request) => {
    // Kept alive it would hold up the end: only connections that idle already are closed by then.
    if (closing) request.raw.socket.end()
  })
  app.setErrorHandler((error, request, reply) => {
    const status = statusOf(error)
    if (status >= 500) app.reportFailure(request, error)
    return sendProblem(reply, status)
  })

  for (const dialect of dialects) await app.register(dialect, { core, settings: config })
  return app
}

/** An address that the router can decode, so that a malformed one is answered by the dialect too. */
function routable(url: string): string {
  const [path = '', ...query] = url.split('?')
  try {
    decodeURIComponent(path)
    return url
  } catch {
    return [path.replaceAll('%', '%25'), ...query].join('?')
  }
}

function corsOptions(config: Config) {
  return {
    origin: [...config.allowedOrigins],
    credentials: true,
    methods: ['GET', 'POST', 'PUT', 'OPTIONS', 'PATCH', 'DELETE', 'HEAD'],
    allowedHeaders: [
      'Authorization',
      'Origin',
      'X-Requested-With',
      'X-CSRF-Token',
      'Content-Type',
      'Accept',
      'Range',
    ],
    exposedHeaders: ['X-Total-Count', 'Content-Range', 'ETag'],
  }
}
