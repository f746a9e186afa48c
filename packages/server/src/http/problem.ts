import { STATUS_CODES } from 'node:http'
import type { FastifyReply } from 'fastify'

/** Problem details (RFC 9457), the shape of everything that is no seed's dialect. */
export function problem(status: number, detail?: string) {
  const title = STATUS_CODES[status]
  const members = { type: 'about:blank', title, status, ...(detail ? { detail } : {}) }
  return { status, title, body: JSON.stringify(members) }
}

/** Answers with problem details. */
export function sendProblem(reply: FastifyReply, status: number, detail?: string): FastifyReply {
  return reply.code(status).type('application/problem+json').send(problem(status, detail).body)
}
