import { STATUS_CODES } from 'node:http'
import type { FastifyReply } from 'fastify'

/** Answers with problem details (RFC 9457), the shape of everything that is no seed's dialect. */
export function sendProblem(reply: FastifyReply, status: number, detail?: string): FastifyReply {
  return reply
    .code(status)
    .type('application/problem+json')
    .send(
      JSON.stringify({
        type: 'about:blank',
        title: STATUS_CODES[status],
        status,
        ...(detail ? { detail } : {}),
      }),
    )
}
