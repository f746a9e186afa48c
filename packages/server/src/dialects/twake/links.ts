import type { FastifyRequest } from 'fastify'
import type { LinkSeal } from '../../core/keys/signed-links.ts'

/** The address of a signed link: a path and what makes it valid. */
export function linkTo(path: string, { identityId, expires, signature }: LinkSeal): string {
  const seal = new URLSearchParams({ as: identityId, expires: String(expires), signature })
  return `${path}?${seal}`
}

/** What a request carries of a signed link, valid or not; undefined when it is none. */
export function linkOf(request: FastifyRequest): { path: string; seal: LinkSeal } | undefined {
  const { as, expires, signature } = request.query as Record<string, unknown>
  if (typeof as !== 'string' || typeof signature !== 'string') return undefined
  return {
    path: pathOf(request),
    seal: { identityId: as, expires: Number(expires), signature },
  }
}

/** The path of an address, without its query. */
export function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? ''
}
