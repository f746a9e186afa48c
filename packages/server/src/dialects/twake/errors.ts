import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { statusOf } from '../../http/failure.ts'

/** A refusal in the words of this dialect. */
export class TwakeError extends Error {
  readonly statusCode: number

  constructor(statusCode: number, message: string) {
    super(message)
    this.name = 'TwakeError'
    this.statusCode = statusCode
  }
}

/** The answer to paths that nobody has. */
export function notFound(): TwakeError {
  return new TwakeError(404, 'Route not found')
}

/** Turns whatever was thrown into an answer of this dialect. */
export function handleError(
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const status = error instanceof TwakeError ? error.statusCode : statusOf(error)
  if (status < 500) return sendError(reply, new TwakeError(status, error.message))
  request.server.reportFailure(request, error)
  // What was not foreseen tells a stranger nothing.
  return sendError(reply, new TwakeError(status, 'Something went wrong'))
}

export function sendError(reply: FastifyReply, { statusCode, message }: TwakeError): FastifyReply {
  if (statusCode === 401) reply.header('www-authenticate', 'Bearer')
  return reply
    .code(statusCode)
    .header('cache-control', 'no-store')
    .send({ statusCode, error: STATUS_CODES[statusCode] ?? 'Error', message })
}
