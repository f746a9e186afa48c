import { readFile } from 'node:fs/promises'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { refuseOtherMethods } from '../../http/method-not-allowed.ts'
import { describeDialect } from '../../http/openapi.ts'
import { publicUrlOf } from '../../http/public-url.ts'
import type { DialectOptions } from '../dialect.ts'
import { ANSWERS, Refusal } from './answers.ts'
import { guard, ownerOf } from './auth.ts'
import { handleError, PrivasferError, sendError } from './errors.ts'
import { limitRate } from './rate-limit.ts'
import { renderUser } from './render.ts'
import { capabilityRoute, downloadRoutes } from './routes/downloads.ts'
import { fileRoutes } from './routes/files.ts'
import { keyRoutes } from './routes/keys.ts'

const PREFIX = '/api'
const YEAR_SECONDS = 365 * 24 * 3600

/**
 * Privasfer's account files, below `/api`. What the seed says, what it leaves open and what was chosen:
 * `docs/dialects/privasfer.md`.
 */
export const privasfer: FastifyPluginAsync<DialectOptions> = async (app, options) => {
  app.setErrorHandler(handleError)
  await describeDialect(app, {
    name: 'privasfer',
    title: 'Account files (Privasfer)',
    security: { token: { type: 'http', scheme: 'bearer' } },
    refusal: Refusal,
    answers: ANSWERS,
  })
  await limitRate(app, options.settings.apiRateLimit, options.core.requestCounts)
  await app.register((scope) => apiRoutes(scope, options), { prefix: PREFIX })

  const otherMethods = refuseOtherMethods(app)
  capabilityRoute(app, options, '/download/:download/:key')
  await photoRoute(app)
  otherMethods.finish()
}

async function apiRoutes(app: FastifyInstance, options: DialectOptions): Promise<void> {
  const { core, settings } = options
  app.setNotFoundHandler((_request, reply) =>
    sendError(reply, new PrivasferError(404, 'Not Found.')),
  )
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
  })

  const otherMethods = refuseOtherMethods(app)
  guard(app, core)
  await fileRoutes(app, options)
  keyRoutes(app, options)
  downloadRoutes(app, options)
  capabilityRoute(app, options, '/downloads/:download/:key')
  app.get('/user', async (request) => ({
    data: renderUser(ownerOf(request), publicUrlOf(request, settings)),
  }))
  otherMethods.finish()
}

/** The picture of everybody who has none. */
async function photoRoute(app: FastifyInstance): Promise<void> {
  const image = await readFile(new URL('./no-image.png', import.meta.url))
  app.get('/images/no_image.png', { config: { public: true } }, async (_request, reply) =>
    reply
      .type('image/png')
      .header('cache-control', `public, max-age=${YEAR_SECONDS}, immutable`)
      .send(image),
  )
}
