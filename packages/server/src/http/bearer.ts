import type { FastifyRequest } from 'fastify'

/** The token of `Authorization: Bearer …` (RFC 6750), or undefined when there is none. */
export function bearerToken({ headers }: FastifyRequest): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1]
}
