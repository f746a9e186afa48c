import type { FastifyInstance } from 'fastify'
import { BODY_IDLE_MS } from './multipart.ts'
import { RequestError } from './request-error.ts'
import { hasBody } from './unread-body.ts'

/**
 * Parses JSON as Fastify does, but takes an empty body for none, on any method: real clients send
 * `Content-Type: application/json` with GET, HEAD, body-less DELETE and POST. A client that falls
 * silent in the middle of a body is refused.
 */
export function acceptEmptyJson(app: FastifyInstance, idleMs = BODY_IDLE_MS): void {
  app.addHook('preParsing', async (request, _reply, payload) => {
    const { raw, headers } = request
    if (!hasBody(request) || !/^application\/json\b/i.test(headers['content-type'] ?? '')) return
    raw.setTimeout(idleMs, () => {
      // Not destroyed: its connection is needed for the answer.
      payload.emit('error', new RequestError('body_timeout', 'the body did not arrive in time'))
    })
    raw.once('end', () => raw.setTimeout(request.server.server.timeout))
  })
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else void parse(request, body as string, done)
  })
}
