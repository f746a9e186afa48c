import type { FastifyInstance } from 'fastify'
import manifest from '../../../../package.json' with { type: 'json' }
import { isSecure } from '../../../http/public-url.ts'
import type { DialectOptions } from '../../dialect.ts'
import { actorOf, clearSessionCookies, issueCsrfToken } from '../auth.ts'

/** `docs/dialects/misakey.md`, signing in. */
export function sessionRoutes(app: FastifyInstance, { core, settings }: DialectOptions): void {
  app.get('/csrf', { config: { public: true } }, async (request, reply) => ({
    csrf_token: issueCsrfToken(request, reply, isSecure(request, settings)),
  }))

  app.get('/version', { config: { public: true } }, async () => ({ version: manifest.version }))

  app.post('/auth/logout', async (request, reply) => {
    const { sessionId } = actorOf(request)
    if (sessionId) await core.sessions.end(sessionId)
    clearSessionCookies(reply, isSecure(request, settings))
    return reply.code(204).send()
  })
}
