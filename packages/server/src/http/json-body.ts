import type { FastifyInstance } from 'fastify'

/**
 * Parses JSON as Fastify does, but takes an empty body for none, on any method: real clients send
 * `Content-Type: application/json` with GET, HEAD, body-less DELETE and POST.
 */
export function acceptEmptyJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else void parse(request, body as string, done)
  })
}
