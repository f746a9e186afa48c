import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { CoreError, type CoreErrorCode } from '../../core/errors.ts'
import { statusOf } from '../../http/failure.ts'
import { RequestError } from '../../http/request-error.ts'

export type Origin = 'acr' | 'body' | 'headers' | 'query' | 'path' | 'cookies' | 'not_defined'
export type Details = Record<string, string>

/** `docs/dialects/misakey.md`, errors: what a client may rely on are code, origin and details. */
const CODES: Record<number, string> = {
  400: 'bad_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  405: 'method_not_allowed',
  409: 'conflict',
  410: 'gone',
  413: 'request_entity_too_large',
  422: 'unprocessable_entity',
  500: 'internal',
  503: 'service_unavailable',
  507: 'service_unavailable',
}

/** A refusal in the words of this dialect. */
export class MisakeyError extends Error {
  readonly statusCode: number
  readonly origin: Origin
  readonly details: Details

  constructor(statusCode: number, origin: Origin, message: string, details: Details = {}) {
    super(message)
    this.name = 'MisakeyError'
    this.statusCode = statusCode
    this.origin = origin
    this.details = details
  }
}

/** The answer to paths that nobody has. */
export function notFound(): MisakeyError {
  return new MisakeyError(404, 'not_defined', 'Not Found')
}

/** Where the details that clients look at differ from none. */
const CORE_DETAILS: Partial<Record<CoreErrorCode, Details>> = {
  identity_not_found: { id: 'not_found' },
  not_company_manager: { owner_org_id: 'forbidden' },
  not_member: { reason: 'not_member', sender_id: 'forbidden' },
  no_access: { reason: 'no_access' },
  event_not_found: { referrer_id: 'not_found' },
  key_share_not_found: { other_share_hash: 'not_found' },
  key_share_taken: { other_share_hash: 'conflict' },
  file_not_found: { id: 'not_found' },
  saved_file_not_found: { id: 'not_found' },
  saved_file_forbidden: { id: 'forbidden' },
  fingerprint_too_long: { key_fingerprint: 'invalid' },
  quota_exceeded: { quota: 'invalid' },
}

/** Turns whatever was thrown into an answer of this dialect. */
export function createErrorHandler(boxFileMaxMb: number) {
  return (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const refusal = refusalOf(error, boxFileMaxMb)
    if (refusal.statusCode >= 500) request.server.reportFailure(request, error)
    return sendError(reply, refusal)
  }
}

export function sendError(reply: FastifyReply, error: MisakeyError): FastifyReply {
  return reply
    .code(error.statusCode)
    .header('cache-control', 'no-store, no-cache')
    .type('application/json; charset=UTF-8')
    .send(
      JSON.stringify({
        code: CODES[error.statusCode] ?? 'bad_request',
        origin: error.origin,
        desc: error.message,
        details: error.details,
      }),
    )
}

function refusalOf(error: FastifyError, boxFileMaxMb: number): MisakeyError {
  if (error instanceof MisakeyError) return error
  if (error instanceof CoreError) return refusalOfCore(error, boxFileMaxMb)
  if (error instanceof RequestError) return refusalOfRequest(error)
  if (error.validation) return refusalOfValidation(error)
  const status = statusOf(error)
  // What was not foreseen tells a stranger nothing.
  if (status >= 500) return new MisakeyError(status, 'not_defined', '')
  if (status === 415) {
    return new MisakeyError(415, 'headers', error.message, { 'Content-Type': 'not_supported' })
  }
  return new MisakeyError(status, 'body', error.message)
}

function refusalOfCore(error: CoreError, boxFileMaxMb: number): MisakeyError {
  switch (error.code) {
    case 'box_not_found':
      // Never 404: whether a box exists is not told to strangers.
      return new MisakeyError(403, 'not_defined', 'no such box')
    case 'file_too_large': {
      const desc = `size: the maximum file size is ${boxFileMaxMb}MB.`
      return new MisakeyError(400, 'not_defined', desc, { size: 'invalid' })
    }
    case 'file_empty':
      return new MisakeyError(400, 'not_defined', 'size: cannot be blank.', { size: 'required' })
    default: {
      const status = statusOf(error)
      const desc = status >= 500 ? '' : error.message
      return new MisakeyError(status, 'not_defined', desc, CORE_DETAILS[error.code])
    }
  }
}

function refusalOfRequest(error: RequestError): MisakeyError {
  switch (error.code) {
    case 'form_expected':
      return new MisakeyError(400, 'body', error.message, { encrypted_file: 'required' })
    case 'method_not_allowed':
      return new MisakeyError(405, 'not_defined', error.message)
    case 'precondition_failed':
      return new MisakeyError(412, 'headers', error.message, { 'If-Match': 'invalid' })
    case 'range_not_satisfiable':
      return new MisakeyError(416, 'headers', error.message, { Range: 'invalid' })
    default:
      return new MisakeyError(error.statusCode, 'body', error.message)
  }
}

interface Fault {
  detail: 'required' | 'malformed' | 'invalid'
  message: string
}

/** All failing fields at once, sorted, with the words that clients know. */
function refusalOfValidation(error: FastifyError): MisakeyError {
  const faults = new Map<string, Fault>()
  for (const { keyword, instancePath, params } of error.validation ?? []) {
    const path = instancePath.split('/').filter((step) => step !== '')
    const missing = keyword === 'required' ? String(params.missingProperty) : undefined
    const field = missing ?? path.at(-1) ?? 'body'
    if (!faults.has(field)) faults.set(field, faultOf(keyword, params))
  }
  return fieldErrors(
    Object.fromEntries(faults),
    error.validationContext === 'querystring' && hasTypeFault(error) ? 'query' : 'not_defined',
  )
}

/** What is wrong, by field. */
export type Faults = Record<string, Fault>

export function fieldErrors(faults: Faults, origin: Origin = 'not_defined'): MisakeyError {
  const sorted = Object.entries(faults).sort(([a], [b]) => a.localeCompare(b))
  const desc = `${sorted.map(([field, { message }]) => `${field}: ${message}`).join('; ')}.`
  const details = Object.fromEntries(sorted.map(([field, { detail }]) => [field, detail]))
  return new MisakeyError(400, origin, desc, details)
}

export const REQUIRED: Fault = { detail: 'required', message: 'cannot be blank' }
export const MALFORMED: Fault = { detail: 'malformed', message: 'must be in a valid format' }

function faultOf(keyword: string, params: Record<string, unknown>): Fault {
  switch (keyword) {
    case 'required':
      return REQUIRED
    case 'minLength':
      return params.limit === 1 ? REQUIRED : { ...MALFORMED, message: 'the length is too short' }
    case 'maxLength':
      return { ...MALFORMED, message: `the length must be no more than ${params.limit}` }
    case 'minimum':
      return { detail: 'invalid', message: `must be no less than ${params.limit}` }
    case 'maximum':
      return { detail: 'invalid', message: `must be no greater than ${params.limit}` }
    case 'enum':
    case 'const':
      return { ...MALFORMED, message: 'must be a valid value' }
    default:
      return MALFORMED
  }
}

function hasTypeFault(error: FastifyError): boolean {
  return (error.validation ?? []).some(({ keyword }) => keyword === 'type')
}
