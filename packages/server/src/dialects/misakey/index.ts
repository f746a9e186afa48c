import type { FastifyPluginAsync } from 'fastify'
import { refuseOtherMethods } from '../../http/method-not-allowed.ts'
import { acceptForms } from '../../http/multipart.ts'
import { describeDialect } from '../../http/openapi.ts'
import type { DialectOptions } from '../dialect.ts'
import { ANSWERS, Refusal } from './answers.ts'
import { guard } from './auth.ts'
import { createErrorHandler, notFound, sendError } from './errors.ts'
import { boxFileRoutes, boxFileUploadRoutes } from './routes/box-files.ts'
import { boxKeyShareRoutes } from './routes/box-key-shares.ts'
import { boxRoutes } from './routes/boxes.ts'
import { eventRoutes } from './routes/events.ts'
import { identityRoutes } from './routes/identities.ts'
import { quotaRoutes } from './routes/quotas.ts'
import { savedFileRoutes, savedFileUploadRoutes } from './routes/saved-files.ts'
import { sessionRoutes } from './routes/session.ts'

/**
 * Misakey's boxes, at the root of the address space: paths that belong to nobody else are answered in
 * its shape too. What the seeds say, what they leave open and what was chosen: `docs/dialects/misakey.md`.
 */
export const misakey: FastifyPluginAsync<DialectOptions> = async (app, options) => {
  app.setErrorHandler(createErrorHandler(options.settings.boxFileMaxMb))
  app.setNotFoundHandler((_request, reply) => sendError(reply, notFound()))
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({
      'x-request-id': request.id,
      'x-fapi-interaction-id': request.id,
      'cache-control': 'no-store, no-cache',
      'referrer-policy': 'origin',
      vary: 'Cookie, Origin',
    })
  })
  await describeDialect(app, {
    name: 'misakey',
    title: 'Boxes and saved files (Misakey)',
    security: {
      session: { type: 'apiKey', in: 'cookie', name: 'accesstoken' },
      bearer: { type: 'http', scheme: 'bearer' },
    },
    refusal: Refusal,
    answers: ANSWERS,
  })
  const otherMethods = refuseOtherMethods(app)
  guard(app, options.core)
  // Without a body every field that is needed is missing, and is named.
  app.addHook('preValidation', async (request) => {
    if (request.routeOptions.schema?.body) request.body ??= {}
  })

  sessionRoutes(app, options)
  identityRoutes(app, options)
  boxRoutes(app, options)
  boxKeyShareRoutes(app, options)
  eventRoutes(app, options)
  boxFileRoutes(app, options)
  savedFileRoutes(app, options)
  quotaRoutes(app, options)
  await app.register(async (scope) => {
    acceptForms(scope)
    boxFileUploadRoutes(scope, options)
    savedFileUploadRoutes(scope, options)
  })
  otherMethods.finish()
}
