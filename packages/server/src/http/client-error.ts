import type { Socket } from 'node:net'
import type { ConnectionError } from 'fastify'
import { problem } from './problem.ts'

const STATUS: Partial<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_HEADER_OVERFLOW: 431,
}

/**
 * Answers what is no HTTP, comes too slowly or has too long a head. There is no request yet whose path
 * would tell a dialect, so these are problem details.
 */
export function answerClientError(error: ConnectionError, socket: Socket): void {
  if (socket.writable && error.code !== 'ECONNRESET') {
    const { status, title, body } = problem(STATUS[error.code] ?? 400)
    const head = [
      `HTTP/1.1 ${status} ${title}`,
      'Connection: close',
      'Content-Type: application/problem+json',
      `Content-Length: ${Buffer.byteLength(body)}`,
    ]
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`)
  }
  socket.destroy(error)
}
