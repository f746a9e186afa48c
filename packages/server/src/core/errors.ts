/**
 * Every way in which the core refuses. Codes are stable: a dialect chooses status, words and shape
 * by code, and never by message. What is thrown and is not a `CoreError` is a bug (the dialect's 500).
 */
export type CoreErrorCode =
  // Who is calling
  | 'email_malformed'
  | 'email_taken'
  | 'identity_not_found'
  | 'time_zone_unknown'
  | 'token_not_found'
  | 'company_not_found'
  // Boxes and events
  | 'not_company_manager'
  | 'box_not_found'
  | 'not_member'
  | 'no_access'
  | 'not_creator'
  | 'already_member'
  | 'creator_stays'
  | 'event_not_found'
  | 'event_gone'
  | 'not_author'
  | 'key_share_not_found'
  | 'key_share_taken'
  // Stored bytes
  | 'file_not_found'
  | 'file_forbidden'
  | 'file_empty'
  | 'file_too_large'
  | 'already_saved'
  | 'fingerprint_too_long'
  | 'saved_file_not_found'
  | 'saved_file_forbidden'
  | 'quota_exceeded'
  // Account files
  | 'pin_malformed'
  | 'pin_wrong'
  | 'pin_locked'
  | 'pin_needed'
  | 'pin_key_unknown'
  | 'download_not_found'
  | 'download_busy'
  // Company files
  | 'company_file_not_found'
  | 'company_file_forbidden'
  | 'company_file_incomplete'
  | 'upload_mismatch'
  | 'preview_not_found'
  | 'integrity'
  | 'storage_full'
  | 'storage_unavailable'
  // The epoch that something has to be sealed to cannot be had; nothing was written.
  | 'key_unavailable'

/** A refusal of the core. `message` is for operators; nothing in it is secret. */
export class CoreError extends Error {
  readonly code: CoreErrorCode

  constructor(code: CoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CoreError'
    this.code = code
  }
}
