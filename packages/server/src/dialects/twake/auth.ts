import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { CompanyCaller } from '../../core/company-files/records.ts'
import type { Core } from '../../core/core.ts'
import { bearerToken } from '../../http/bearer.ts'
import type { DialectOptions } from '../dialect.ts'
import { notFound, TwakeError } from './errors.ts'
import { identityOfTwakeToken } from './jwt.ts'
import { linkOf } from './links.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Takes a signed link in the place of a token. */
    links?: boolean
  }
  interface FastifyRequest {
    twakeCaller: string | undefined
  }
}

/** Asks every request for a token, or for a link where links are taken, before its body is read. */
export function guard(app: FastifyInstance, options: DialectOptions): void {
  app.decorateRequest('twakeCaller', undefined)
  app.addHook('onRequest', async (request) => {
    if (request.is404) throw notFound()
    request.twakeCaller = await authenticate(request, options)
    if (!request.twakeCaller) throw new TwakeError(401, 'Bad credentials')
  })
}

/** Who sends a request that the guard has let through, and in which company. */
export function callerOf(
  request: FastifyRequest<{ Params: { company_id: string } }>,
): CompanyCaller {
  if (!request.twakeCaller) throw new Error('the guard lets nobody through without an identity')
  return { identityId: request.twakeCaller, companyId: request.params.company_id }
}

async function authenticate(
  request: FastifyRequest,
  { core, settings }: DialectOptions,
): Promise<string | undefined> {
  if (request.headers.authorization === undefined) {
    return request.routeOptions.config.links ? callerByLink(request, core) : undefined
  }
  const token = bearerToken(request)
  if (!token) return undefined
  const known = await core.tokens.authenticate(token)
  if (known) return known.identityId
  return settings.twakeJwtSecret
    ? identityOfTwakeToken(core, settings.twakeJwtSecret, token)
    : undefined
}

function callerByLink(request: FastifyRequest, core: Core): string | undefined {
  const link = linkOf(request)
  return link && core.links.verify(link.path, link.seal) ? link.seal.identityId : undefined
}
