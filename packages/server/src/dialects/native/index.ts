import type { FastifyPluginAsync } from 'fastify'
import { equalSecrets } from '../../core/secrets.ts'
import { statusOf } from '../../http/failure.ts'
import { sendProblem } from '../../http/problem.ts'
import type { DialectOptions } from '../dialect.ts'

/** Health and metrics, and the place of Holdfast's own API. Errors are problem details (RFC 9457). */
export const native: FastifyPluginAsync<DialectOptions> = async (app, { settings }) => {
  app.setErrorHandler((error, request, reply) => {
    const status = statusOf(error)
    if (status >= 500) app.reportFailure(request, error)
    return sendProblem(reply, status)
  })

  app.get('/health/live', async () => ({ status: 'ok' }))
  // The server listens once the store is open and its keys are known to fit.
  app.get('/health/ready', async () => ({ status: 'ok' }))

  app.get('/metrics', async (request, reply) => {
    const given = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? ''
    if (!settings.metricsToken || !equalSecrets(given, settings.metricsToken)) {
      return sendProblem(reply, 404)
    }
    return reply.type(app.metrics.registry.contentType).send(await app.metrics.registry.metrics())
  })

  for (const prefix of ['/v1', '/health', '/openapi']) {
    await app.register(
      async (scope) => {
        scope.setNotFoundHandler((_request, reply) => sendProblem(reply, 404))
      },
      { prefix },
    )
  }
}
