import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { CoreError } from '../../core/errors.ts'
import { statusOf } from '../../http/failure.ts'
import { sendProblem } from '../../http/problem.ts'

/** A refusal with words for whoever calls. */
export class ProblemError extends Error {
  readonly statusCode: number

  constructor(statusCode: number, message: string) {
    super(message)
    this.name = 'ProblemError'
    this.statusCode = statusCode
  }
}

export function handleError(
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const status = statusOf(error)
  if (status >= 500) request.server.reportFailure(request, error)
  return sendProblem(reply, status, status < 500 && isForCaller(error) ? error.message : undefined)
}

/** What is wrong with a request is told; what went wrong here is not. */
function isForCaller(error: FastifyError): boolean {
  return error instanceof ProblemError || error instanceof CoreError || !!error.validation
}
