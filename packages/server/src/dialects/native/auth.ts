import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Core } from '../../core/core.ts'
import { bearerToken } from '../../http/bearer.ts'
import { passesCsrf } from '../../http/csrf.ts'
import { ProblemError } from './errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    nativePerson: { identityId: string } | undefined
  }
}

/** Settings and tokens are a matter of the person herself: a password at least, and no API token. */
const LEAST_ACR = 2

/** Lets only a person's own session through, by cookies or as a Bearer token. */
export function guard(app: FastifyInstance, core: Core): void {
  app.decorateRequest('nativePerson', undefined)
  app.addHook('onRequest', async (request) => {
    if (request.is404) return
    if (!passesCsrf(request)) throw new ProblemError(403, 'invalid CSRF token')
    const token = tokenOf(request)
    const session = token ? await core.sessions.authenticate(token) : undefined
    if (!session) throw new ProblemError(401, 'sign in first')
    if (session.acr < LEAST_ACR) throw new ProblemError(403, 'sign in with a password')
    request.nativePerson = { identityId: session.identityId }
  })
}

/** Cookies count only without an Authorization header, since that lets a request pass without CSRF token. */
function tokenOf(request: FastifyRequest): string | undefined {
  if (request.headers.authorization !== undefined) return bearerToken(request)
  const { cookies } = request
  return cookies.tokentype === 'bearer' ? cookies.accesstoken : undefined
}

/** Who sends a request that the guard has let through. */
export function personOf(request: FastifyRequest): string {
  if (!request.nativePerson) throw new Error('this route has no guard')
  return request.nativePerson.identityId
}
