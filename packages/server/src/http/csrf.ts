import type { FastifyRequest } from 'fastify'
import { csrfTokenOf, equalSecrets } from '../core/secrets.ts'

export const CSRF_COOKIE = '_csrf'

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/**
 * Whether a request may change something. Unsafe requests with cookies must carry the session's token
 * in `X-CSRF-Token`, or, before there is a session, the token that the `_csrf` cookie holds. Bearer
 * tokens are not sent by browsers on their own, so they need none.
 */
export function passesCsrf(request: FastifyRequest): boolean {
  if (SAFE.has(request.method) || request.headers.authorization !== undefined) return true
  const given = request.headers['x-csrf-token']
  const expected = expectedCsrfToken(request)
  return typeof given === 'string' && !!expected && equalSecrets(given, expected)
}

/** The token that this client's unsafe requests need, if there is one already. */
export function expectedCsrfToken({ cookies }: FastifyRequest): string | undefined {
  const { accesstoken, [CSRF_COOKIE]: cookie } = cookies
  return accesstoken ? csrfTokenOf(accesstoken) : cookie
}
