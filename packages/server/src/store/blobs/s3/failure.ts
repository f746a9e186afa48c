import { CoreError } from '../../../core/errors.ts'

/** A request that did not succeed. It holds nothing of the request itself, which is signed. */
export class S3Failure extends Error {
  /** Of HTTP; undefined when there was no answer. */
  readonly status: number | undefined
  /** The store's own code, or the name of what the network did. */
  readonly code: string

  constructor(code: string, message: string, status: number | undefined) {
    super(message)
    this.name = 'S3Failure'
    this.code = code
    this.status = status
  }
}

const TRANSIENT_STATUS = new Set([408, 429, 500, 502, 503, 504])
const TRANSIENT_CODES = new Set([
  'SlowDown',
  'RequestTimeout',
  'InternalError',
  'OperationAborted',
  'ConditionalRequestConflict',
  // Bytes that were damaged on their way.
  'BadDigest',
  'XAmzContentSHA256Mismatch',
])
const FULL_CODES = new Set(['QuotaExceeded', 'InsufficientStorage', 'XMinioStorageFull'])
const FULL_STATUS = 507

/** What any error of the SDK says, without what it holds of the request. */
export function failureOf(error: unknown): S3Failure {
  if (error instanceof S3Failure) return error
  const { name, message, code, $metadata } = error as Error & {
    code?: unknown
    $metadata?: { httpStatusCode?: number }
  }
  const status = $metadata?.httpStatusCode
  const isService = status !== undefined && status >= 300
  // An answer without a body, as to HEAD, has no code.
  const known = isService ? name : typeof code === 'string' ? code : name
  return new S3Failure(known, `${known}: ${firstLine(message)}`, isService ? status : undefined)
}

/** The network's failures, and those of the store that pass. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof S3Failure)) return false
  const { status, code } = error
  return status === undefined || TRANSIENT_STATUS.has(status) || TRANSIENT_CODES.has(code)
}

export function hasStatus(error: unknown, ...statuses: number[]): boolean {
  return error instanceof S3Failure && error.status !== undefined && statuses.includes(error.status)
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof S3Failure && error.code === code
}

/** Runs work and turns the store's failures into the core's. */
export async function translating<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw translated(error)
  }
}

export function translated(error: unknown): unknown {
  if (!(error instanceof S3Failure)) return error
  const options = { cause: error }
  if (error.status === FULL_STATUS || FULL_CODES.has(error.code)) {
    return new CoreError('storage_full', 'the bucket takes no more', options)
  }
  return new CoreError('storage_unavailable', `the bucket answered ${error.code}`, options)
}

function firstLine(text: string): string {
  return (text.split('\n')[0] ?? '').slice(0, 200)
}
