import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** How much of a refused body is still read, so that the client comes to reading the answer. */
const READ_ON_BYTES = 1024 * 1024
const READ_ON_MS = 5000
/** How long the connection stays open for a client that still sends after it was answered. */
const LINGER_MS = 2000

/**
 * Lets clients that are refused while they still send read the answer. What they send is read on for
 * at most 1 MiB; then the answer goes out with `Connection: close`, and the connection stays open a
 * little: closing it with unread bytes would reset it and could take the answer along.
 */
export function readOnAfterRefusal(app: FastifyInstance): void {
  app.addHook('onSend', async (request, reply, payload) => {
    if (!isStillSending(request)) {
      // What came and nobody read is let go: an unread body never ends, and keeps what waits for that.
      if (hasBody(request)) request.raw.resume()
      return payload
    }
    if (await readOn(request)) return payload
    reply.header('connection', 'close')
    if (typeof payload !== 'string' && !Buffer.isBuffer(payload)) return payload
    return lingering(Buffer.from(payload), request, reply)
  })
}

/** Whether the request's head announces a body that is not empty. */
export function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length']) > 0
}

function isStillSending(request: FastifyRequest): boolean {
  const { complete, destroyed } = request.raw
  return hasBody(request) && !complete && !destroyed
}

/** @returns whether the body ended */
function readOn(request: FastifyRequest): Promise<boolean> {
  const { raw } = request
  let left = READ_ON_BYTES
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      raw.off('data', count).off('end', done).off('close', done)
      // What is here whole is let go, so that it ends; the rest stays on the socket.
      if (!raw.complete) raw.pause()
      resolve(raw.complete)
    }
    const count = (bytes: Buffer) => {
      left -= bytes.byteLength
      if (left <= 0) done()
    }
    const timer = setTimeout(done, READ_ON_MS)
    raw.on('data', count).on('end', done).on('close', done)
    raw.resume()
  })
}

/** The whole answer at once, its end only when the client has stopped sending or the time is up. */
function lingering(answer: Buffer, request: FastifyRequest, reply: FastifyReply): Readable {
  reply.header('content-length', answer.byteLength)
  const { raw } = request
  return Readable.from(
    (async function* () {
      yield answer
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LINGER_MS)
        raw.once('close', () => {
          clearTimeout(timer)
          resolve()
        })
        raw.resume()
      })
    })(),
  )
}
