import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { acceptFormsToo } from '../../http/multipart.ts'
import { describeDialect } from '../../http/openapi.ts'
import type { DialectOptions } from '../dialect.ts'
import { ANSWERS, Refusal } from './answers.ts'
import { guard } from './auth.ts'
import { handleError, notFound, sendError } from './errors.ts'
import { PREFIX } from './render.ts'
import { downloadRoutes } from './routes/downloads.ts'
import { fileRoutes } from './routes/files.ts'
import { uploadRoutes } from './routes/uploads.ts'

/**
 * Twake's files of companies. What its document says, what its server does instead and what was chosen:
 * `docs/dialects/twake.md`.
 */
export const twake: FastifyPluginAsync<DialectOptions> = async (app, options) => {
  app.setErrorHandler(handleError)
  await describeDialect(app, {
    name: 'twake',
    title: 'Company files (Twake)',
    security: { token: { type: 'http', scheme: 'bearer' } },
    refusal: Refusal,
    answers: ANSWERS,
  })
  await app.register(async (scope) => routes(scope, options), { prefix: PREFIX })
}

function routes(app: FastifyInstance, options: DialectOptions): void {
  app.setNotFoundHandler((_request, reply) => sendError(reply, notFound()))
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers({ 'cache-control': 'no-store', vary: 'Authorization, Origin' })
  })
  guard(app, options)

  acceptFormsToo(app)
  acceptIgnoredBodies(app)
  fileRoutes(app, options)
  uploadRoutes(app, options)
  downloadRoutes(app, options)
}

/** Some clients send an empty form of the other kind to announce a file; plain text none does. */
function acceptIgnoredBodies(app: FastifyInstance): void {
  app.removeContentTypeParser('text/plain')
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    (_request, _body, done) => done(null),
  )
}
