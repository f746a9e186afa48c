import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { PinLockedError } from '../../core/account-files/pins.ts'
import { CoreError, type CoreErrorCode } from '../../core/errors.ts'
import { statusOf } from '../../http/failure.ts'
import { RequestError } from '../../http/request-error.ts'

/** What is wrong, by field. */
export type FieldErrors = Record<string, string[]>

/** A refusal in the words of this dialect. */
export class PrivasferError extends Error {
  readonly statusCode: number
  readonly errors: FieldErrors | undefined

  constructor(statusCode: number, message: string, errors?: FieldErrors) {
    super(message)
    this.name = 'PrivasferError'
    this.statusCode = statusCode
    this.errors = errors
  }
}

export function invalid(errors: FieldErrors): PrivasferError {
  return new PrivasferError(422, 'The given data was invalid.', errors)
}

/** Where the words of a refusal of the core are fixed by the documents or by what clients know. */
const OF_CORE: Partial<Record<CoreErrorCode, PrivasferError>> = {
  file_not_found: new PrivasferError(404, 'Not Found.'),
  download_not_found: new PrivasferError(404, 'Not Found.'),
  download_busy: new PrivasferError(409, 'This download is being performed already.'),
  quota_exceeded: new PrivasferError(413, 'The storage quota is used up.'),
  pin_needed: new PrivasferError(403, 'This action is unauthorized.'),
  pin_wrong: invalid({ pin: ['Invalid PIN.'] }),
  pin_key_unknown: invalid({ pinKey: ['Pin key does not exists'] }),
  integrity: new PrivasferError(500, 'Server Error'),
  storage_full: new PrivasferError(507, 'Insufficient Storage'),
  storage_unavailable: new PrivasferError(503, 'Service Unavailable'),
  key_unavailable: new PrivasferError(503, 'Service Unavailable'),
}

/** A whole request may be tried again after this, when the store is out of reach. */
const RETRY_SECONDS = '30'

export function handleError(
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const refusal = refusalOf(error, request, reply)
  if (refusal.statusCode >= 500) request.server.reportFailure(request, error)
  if (refusal.statusCode === 503) reply.header('retry-after', RETRY_SECONDS)
  if (error instanceof PinLockedError) {
    reply.header('retry-after', Math.ceil(error.waitMs / 1000))
  }
  return sendError(reply, refusal)
}

export function sendError(reply: FastifyReply, error: PrivasferError): FastifyReply {
  return reply
    .code(error.statusCode)
    .header('cache-control', 'no-store')
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ message: error.message, errors: error.errors }))
}

function refusalOf(
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
): PrivasferError {
  if (error instanceof PrivasferError) return error
  if (error instanceof PinLockedError) return new PrivasferError(429, 'Too Many Attempts.')
  if (error instanceof CoreError) {
    return OF_CORE[error.code] ?? new PrivasferError(statusOf(error), error.message)
  }
  if (error instanceof RequestError) return refusalOfRequest(error, request, reply)
  const status = statusOf(error)
  return new PrivasferError(status, status >= 500 ? 'Server Error' : error.message)
}

function refusalOfRequest(
  error: RequestError,
  request: FastifyRequest,
  reply: FastifyReply,
): PrivasferError {
  switch (error.code) {
    case 'form_expected':
      return invalid({ file: ['The file field is required.'] })
    case 'form_malformed':
      return invalid({ file: ['The file failed to upload.'] })
    case 'file_repeated':
      return invalid({ file: ['The file must be a single file.'] })
    case 'method_not_allowed':
      return new PrivasferError(
        405,
        `The ${request.method} method is not supported for this route. Supported methods: ${reply.getHeader('allow')}.`,
      )
    default:
      return new PrivasferError(error.statusCode, error.message)
  }
}
