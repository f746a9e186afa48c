import { randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Core } from '../../core/core.ts'
import type { Acr } from '../../core/schema.ts'
import { bearerToken } from '../../http/bearer.ts'
import { CSRF_COOKIE, expectedCsrfToken, passesCsrf } from '../../http/csrf.ts'
import { MisakeyError, notFound } from './errors.ts'

/** Who sends a request. */
export interface Actor {
  readonly identityId: string
  readonly acr: Acr
  /** Of a person's session; a machine has none. */
  readonly sessionId: string | undefined
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The least assurance; 1 where nothing is said. */
    acr?: Acr
    /** Applications may call it too. */
    machines?: boolean
  }
  interface FastifyRequest {
    misakeyActor: Actor | undefined
  }
}

/** An application's token counts as a password. */
const MACHINE_ACR: Acr = 2
const CSRF_COOKIE_SECONDS = 24 * 3600

/** Checks every request of this dialect before its body is read: CSRF, then token, then assurance. */
export function guard(app: FastifyInstance, core: Core): void {
  app.decorateRequest('misakeyActor', undefined)
  app.addHook('onRequest', async (request) => {
    // A request without a route is answered as such, whoever sends it and whatever its body.
    if (request.is404) throw notFound()
    if (!passesCsrf(request)) {
      throw new MisakeyError(403, 'not_defined', 'invalid csrf token', { csrf_token: 'invalid' })
    }
    const { public: open = false, acr = 1, machines = false } = request.routeOptions.config
    if (open) return
    const actor = await authenticate(core, request)
    if (!actor.sessionId && !machines) {
      throw new MisakeyError(401, 'cookies', 'unauthorized client')
    }
    if (actor.acr < acr) {
      throw new MisakeyError(403, 'acr', 'token acr is too weak', {
        acr: 'forbidden',
        required_acr: String(acr),
      })
    }
    request.misakeyActor = actor
  })
}

/** Who sends a request that the guard has let through. */
export function actorOf(request: FastifyRequest): Actor {
  if (!request.misakeyActor) throw new Error('a public route has no actor')
  return request.misakeyActor
}

/** @throws MisakeyError 403 when `id` is not the caller's own identity */
export function requireSelf(request: FastifyRequest, id: string, details = {}): void {
  if (actorOf(request).identityId === id) return
  throw new MisakeyError(403, 'not_defined', 'another identity', details)
}

/** The token that this client's unsafe requests need; remembered in the `_csrf` cookie. */
export function issueCsrfToken(
  request: FastifyRequest,
  reply: FastifyReply,
  secure: boolean,
): string {
  const token = expectedCsrfToken(request) || randomBytes(24).toString('base64url')
  reply.setCookie(CSRF_COOKIE, token, {
    ...cookieAttributes(secure),
    maxAge: CSRF_COOKIE_SECONDS,
  })
  return token
}

/** Ends a session on the client's side. */
export function clearSessionCookies(reply: FastifyReply, secure: boolean): void {
  for (const name of ['accesstoken', 'tokentype']) {
    reply.clearCookie(name, cookieAttributes(secure))
  }
}

function cookieAttributes(secure: boolean) {
  return { httpOnly: true, secure, sameSite: 'strict', path: '/' } as const
}

async function authenticate(core: Core, request: FastifyRequest): Promise<Actor> {
  const { authorization } = request.headers
  const { accesstoken, tokentype } = request.cookies
  const hasCookies = accesstoken !== undefined || tokentype !== undefined
  if (authorization !== undefined && hasCookies) {
    throw new MisakeyError(401, 'not_defined', 'too much way of giving authorization')
  }
  if (authorization !== undefined) return authenticateBearer(core, bearerToken(request))
  if (accesstoken === undefined || tokentype === undefined) throw missing()
  if (tokentype !== 'bearer') {
    throw new MisakeyError(401, 'cookies', 'unknown token type', { tokentype: 'invalid' })
  }
  if (accesstoken === '') {
    throw new MisakeyError(401, 'cookies', 'empty access token', { accesstoken: 'invalid' })
  }
  return (await sessionActor(core, accesstoken)) ?? inactive()
}

/** A person's session token, or the API token of an application. */
async function authenticateBearer(core: Core, token: string | undefined): Promise<Actor> {
  if (!token) throw missing()
  const session = await sessionActor(core, token)
  if (session) return session
  const apiToken = await core.tokens.authenticate(token)
  if (!apiToken) return inactive()
  const { kind } = await core.identities.get(apiToken.identityId)
  if (kind !== 'application') {
    throw new MisakeyError(401, 'headers', 'token must be an access token', {
      Authorization: 'invalid',
    })
  }
  return { identityId: apiToken.identityId, acr: MACHINE_ACR, sessionId: undefined }
}

async function sessionActor(core: Core, token: string): Promise<Actor | undefined> {
  const session = await core.sessions.authenticate(token)
  if (!session) return undefined
  return { identityId: session.identityId, acr: session.acr, sessionId: session.id }
}

function missing(): MisakeyError {
  return new MisakeyError(401, 'not_defined', 'missing authorization')
}

function inactive(): never {
  throw new MisakeyError(401, 'headers', 'token is not active', { Authorization: 'invalid' })
}
