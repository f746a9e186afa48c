import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { equalSecrets } from '../../core/secrets.ts'
import { bearerToken } from '../../http/bearer.ts'
import { refuseOtherMethods } from '../../http/method-not-allowed.ts'
import { describeDialect } from '../../http/openapi.ts'
import { sendProblem } from '../../http/problem.ts'
import type { DialectOptions } from '../dialect.ts'
import { ANSWERS, Refusal } from './answers.ts'
import { guard } from './auth.ts'
import { handleError } from './errors.ts'
import { meRoutes } from './routes/me.ts'
import { tokenRoutes } from './routes/tokens.ts'

/** Health, metrics, and Holdfast's own API below `/v1`. Errors are problem details (RFC 9457). */
export const native: FastifyPluginAsync<DialectOptions> = async (app, options) => {
  app.setErrorHandler(handleError)
  await describeDialect(app, {
    name: 'native',
    title: 'Holdfast',
    security: {
      session: { type: 'apiKey', in: 'cookie', name: 'accesstoken' },
      bearer: { type: 'http', scheme: 'bearer' },
    },
    refusal: Refusal,
    answers: ANSWERS,
  })
  operatorRoutes(app, options)
  await app.register((scope) => ownRoutes(scope, options), { prefix: '/v1' })
  for (const prefix of ['/health', '/openapi']) {
    await app.register(async (scope) => notFound(scope), { prefix })
  }
}

async function ownRoutes(app: FastifyInstance, options: DialectOptions): Promise<void> {
  notFound(app)
  const otherMethods = refuseOtherMethods(app)
  guard(app, options.core)
  meRoutes(app, options)
  tokenRoutes(app, options)
  otherMethods.finish()
}

function operatorRoutes(app: FastifyInstance, { core, settings }: DialectOptions): void {
  app.get('/health/live', async () => ({ status: 'ok' }))
  // The server listens once the store is open and its keys are known to fit; both can be lost later.
  app.get('/health/ready', async () => {
    await core.checkStore()
    return { status: 'ok' }
  })

  app.get('/metrics', async (request, reply) => {
    const given = bearerToken(request) ?? ''
    if (!settings.metricsToken || !equalSecrets(given, settings.metricsToken)) {
      return sendProblem(reply, 404)
    }
    return reply.type(app.metrics.registry.contentType).send(await app.metrics.registry.metrics())
  })
}

function notFound(scope: FastifyInstance): void {
  scope.setNotFoundHandler((_request, reply) => sendProblem(reply, 404))
}
