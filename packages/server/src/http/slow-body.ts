import type { FastifyInstance } from 'fastify'
import { hasBody } from './unread-body.ts'

/** What a client must send of a body in each minute. Any line that carries calls carries this. */
const LEAST_BYTES = 8 * 1024
const EVERY_MS = 60_000

/**
 * Cuts clients off who send a body so slowly that they only hold the connection. One that goes on
 * may take as long as it needs, and is not blamed for the time in which the server takes nothing.
 */
export function cutSlowBodies(
  app: FastifyInstance,
  { leastBytes = LEAST_BYTES, everyMs = EVERY_MS } = {},
): void {
  app.addHook('onRequest', async (request) => {
    if (!hasBody(request)) return
    const { raw } = request
    const { socket } = raw
    let before = socket.bytesRead
    const timer = setInterval(() => {
      const came = socket.bytesRead - before
      before = socket.bytesRead
      if (came < leastBytes && !raw.complete && !raw.isPaused()) raw.destroy()
    }, everyMs)
    raw.once('close', () => clearInterval(timer))
  })
}
