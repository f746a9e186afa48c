/** What can be wrong with a request before the core sees it. Stable, like the core's codes. */
export type RequestErrorCode =
  | 'body_incomplete'
  | 'body_timeout'
  | 'file_repeated'
  | 'form_expected'
  | 'form_malformed'
  | 'form_too_large'
  | 'method_not_allowed'
  | 'precondition_failed'
  | 'range_not_satisfiable'

const STATUS: Record<RequestErrorCode, number> = {
  body_incomplete: 400,
  body_timeout: 408,
  file_repeated: 400,
  form_expected: 400,
  form_malformed: 400,
  form_too_large: 413,
  method_not_allowed: 405,
  precondition_failed: 412,
  range_not_satisfiable: 416,
}

/** A request that cannot be served as it was sent. The message may be shown to who sent it. */
export class RequestError extends Error {
  readonly code: RequestErrorCode
  /** The status of HTTP that fits, in every dialect. */
  readonly statusCode: number

  constructor(code: RequestErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'RequestError'
    this.code = code
    this.statusCode = STATUS[code]
  }
}
