import type { FastifyError } from 'fastify'
import { CoreError, type CoreErrorCode } from '../core/errors.ts'
import { RequestError } from './request-error.ts'

/** The status of HTTP that fits a refusal of the core, where a dialect has no other. */
const CORE_STATUS: Record<CoreErrorCode, number> = {
  email_malformed: 422,
  email_taken: 409,
  identity_not_found: 404,
  time_zone_unknown: 422,
  token_not_found: 404,
  company_not_found: 404,
  not_company_manager: 403,
  box_not_found: 404,
  not_member: 403,
  no_access: 403,
  not_creator: 403,
  already_member: 409,
  creator_stays: 403,
  event_not_found: 404,
  event_gone: 410,
  not_author: 403,
  key_share_not_found: 404,
  key_share_taken: 409,
  file_not_found: 404,
  file_forbidden: 403,
  file_empty: 400,
  file_too_large: 413,
  already_saved: 409,
  fingerprint_too_long: 413,
  saved_file_not_found: 404,
  saved_file_forbidden: 403,
  quota_exceeded: 413,
  pin_malformed: 422,
  pin_wrong: 422,
  pin_locked: 429,
  pin_needed: 403,
  pin_key_unknown: 422,
  download_not_found: 404,
  download_busy: 409,
  company_file_not_found: 404,
  company_file_forbidden: 403,
  company_file_incomplete: 409,
  upload_mismatch: 400,
  preview_not_found: 404,
  integrity: 500,
  storage_full: 507,
  storage_unavailable: 503,
  key_unavailable: 503,
}

/** The status that fits any error: what nobody foresaw is a 500. */
export function statusOf(error: unknown): number {
  if (error instanceof CoreError) return CORE_STATUS[error.code]
  if (error instanceof RequestError) return error.statusCode
  const { statusCode } = error as Partial<FastifyError>
  return statusCode && statusCode >= 400 && statusCode < 600 ? statusCode : 500
}
