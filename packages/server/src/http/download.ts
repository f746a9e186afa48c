import { Readable } from 'node:stream'
import { create as contentDisposition } from 'content-disposition'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { free } from '../core/memory.ts'
import { evaluateConditions } from './conditions.ts'
import { type ByteRange, requestedRange } from './range.ts'
import { RequestError } from './request-error.ts'

/** Stored bytes that somebody may have. */
export interface Download {
  /** Bytes. */
  readonly size: number
  /** The opaque version; content under one version never changes. */
  readonly version: string
  readonly type: string
  /** Offered to the person who saves it; without one the client chooses. */
  readonly filename?: string
  /** To be shown where it stands: for what is known to be harmless. */
  readonly inline?: boolean
  /** Seconds for which the client need not ask again. */
  readonly maxAge?: number
  /** Whether pages of other origins may show it, as those do that were given a signed link. */
  readonly embeddable?: boolean
  /** The bytes from `start` up to but not including `end`, authenticated. */
  read(start: number, end: number): AsyncGenerator<Uint8Array>
}

/**
 * Answers GET and HEAD with stored bytes: whole or one range, conditional requests (RFC 9110), and
 * headers that keep a browser from running what somebody uploaded. The first bytes are opened before
 * the head goes out, so that damage there is a clean 5xx; damage further on cuts the connection.
 *
 * @throws RequestError precondition_failed, range_not_satisfiable, or what `read` throws at first
 */
export async function sendDownload(
  request: FastifyRequest,
  reply: FastifyReply,
  download: Download,
): Promise<FastifyReply> {
  const etag = `"${download.version}"`
  const headers = {
    'accept-ranges': 'bytes',
    etag,
    'cache-control': `private, ${download.maxAge ? `max-age=${download.maxAge}` : 'no-cache'}`,
    'content-disposition': contentDisposition(download.filename, {
      type: download.inline ? 'inline' : 'attachment',
    }),
    'content-security-policy': "sandbox; default-src 'none'",
    'cross-origin-resource-policy': download.embeddable ? 'cross-origin' : 'same-origin',
    'referrer-policy': 'no-referrer',
  }
  if (evaluateConditions(request.headers, etag) === 'not_modified') {
    return reply.code(304).headers(headers).send()
  }

  const range = request.method === 'GET' ? rangeOf(request, reply, download, etag) : undefined
  const { start, end } = range ?? { start: 0, end: download.size }
  const body =
    request.method === 'HEAD'
      ? await checked(download)
      : await opened(request, reply, download.read(start, end), end - start)
  // Only now: an error's answer has none of them.
  reply.headers({ ...headers, 'content-type': download.type, 'content-length': end - start })
  if (range) {
    reply.code(206).header('content-range', `bytes ${start}-${end - 1}/${download.size}`)
  }
  return reply.send(body)
}

/** Holds the size that is answered against what was sealed, without a byte of content. */
async function checked(download: Download): Promise<undefined> {
  await download.read(0, 0).next()
}

function rangeOf(
  request: FastifyRequest,
  reply: FastifyReply,
  download: Download,
  etag: string,
): ByteRange | undefined {
  const range = requestedRange(request.headers, download.size, etag)
  if (range !== 'unsatisfiable') return range
  reply.header('content-range', `bytes */${download.size}`)
  throw new RequestError('range_not_satisfiable', 'the range lies outside of the file')
}

/** The bytes, once the first of them are there: as they are when those are all, otherwise as a stream. */
async function opened(
  request: FastifyRequest,
  reply: FastifyReply,
  bytes: AsyncGenerator<Uint8Array>,
  size: number,
): Promise<Uint8Array | Readable> {
  const first = await bytes.next()
  if (first.value?.byteLength !== size) return streamOf(request, reply, bytes, first)
  // A stream costs as much as all the rest of answering with a small file.
  await bytes.return(undefined)
  return first.value
}

/** Each piece is freed when it has gone out. */
function streamOf(
  request: FastifyRequest,
  reply: FastifyReply,
  bytes: AsyncGenerator<Uint8Array>,
  first: IteratorResult<Uint8Array>,
): Readable {
  const pieces: Uint8Array[] = []
  let unfreed = 0

  /** What neither the stream nor the socket holds any more, the oldest pieces, is with the client. */
  function freeSent(): void {
    const waiting = stream.readableLength + reply.raw.writableLength
    for (let oldest = pieces[0]; oldest; oldest = pieces[0]) {
      if (unfreed - oldest.byteLength < waiting) return
      unfreed -= oldest.byteLength
      free(oldest)
      pieces.shift()
    }
  }

  const stream: Readable = Readable.from(
    (async function* () {
      try {
        for (let next = first; !next.done; next = await bytes.next()) {
          pieces.push(next.value)
          unfreed += next.value.byteLength
          yield next.value
          freeSent()
        }
      } catch (error) {
        request.server.reportFailure(request, error)
        throw error
      }
    })(),
    { objectMode: false },
  )
  // Also when the client left before the first byte went out.
  stream.once('close', () => void bytes.return(undefined))
  // What was still on its way when the last piece was taken.
  reply.raw.once('finish', () => pieces.forEach(free))
  return stream
}
