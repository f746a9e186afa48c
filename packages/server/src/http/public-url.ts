import type { FastifyRequest } from 'fastify'

/** The settings that say how clients reach the server. */
export interface PublicAddress {
  /** Without a slash at its end; cookies are Secure exactly when it is https. */
  readonly publicUrl: string
  /** Whether nobody has set it, and proxies are trusted to know better. */
  readonly publicUrlFromProxy: boolean
}

const PROTOCOL = /^https?$/
const HOST = /^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:\d{1,5})?$/i

/** How this request's client reaches the server, without a slash at its end. */
export function publicUrlOf(request: FastifyRequest, address: PublicAddress): string {
  const { publicUrl, publicUrlFromProxy } = address
  // Without addresses before the connection's own there is no proxy that is believed.
  if (!publicUrlFromProxy || (request.ips ?? []).length < 2) return publicUrl
  const { protocol, host } = request
  return PROTOCOL.test(protocol) && HOST.test(host) ? `${protocol}://${host}` : publicUrl
}

/** Whether cookies that this request is answered with are for https alone. */
export function isSecure(request: FastifyRequest, address: PublicAddress): boolean {
  return publicUrlOf(request, address).startsWith('https:')
}
