import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Core } from '../../core/core.ts'
import type { Identity } from '../../core/people/identities.ts'
import { bearerToken } from '../../http/bearer.ts'
import { PrivasferError } from './errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    privasferOwner: Identity | undefined
  }
}

/** Lets only requests with an API token through, before their body is read. */
export function guard(app: FastifyInstance, core: Core): void {
  app.decorateRequest('privasferOwner', undefined)
  app.addHook('onRequest', async (request) => {
    if (request.is404 || request.routeOptions.config.public) return
    const token = bearerToken(request)
    const known = token ? await core.tokens.authenticate(token) : undefined
    if (!known) throw new PrivasferError(401, 'Unauthenticated.')
    request.privasferOwner = await core.identities.get(known.identityId)
  })
}

/** Whose account a request is about: the token's owner's. */
export function ownerOf(request: FastifyRequest): Identity {
  if (!request.privasferOwner) throw new Error('a public route has no owner')
  return request.privasferOwner
}
