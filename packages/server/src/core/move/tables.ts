import type { Schema } from '../schema.ts'

/**
 * What is not carried over row by row: `meta` says which store it is and is written last, the index of
 * names is made anew, and the others are about processes, of which none runs.
 */
type LeftOut =
  | ('meta' | 'search_todo')
  | ('server_process' | 'staged_object' | 'lease' | 'request_window')

/** Columns of primary keys, in their order. Each table stands behind those that it refers to. */
const KEYS: Record<Exclude<keyof Schema, LeftOut>, readonly string[]> = {
  epoch: ['number'],
  rekey_object: ['object'],
  identity: ['id'],
  session: ['id'],
  api_token: ['id'],
  company: ['id'],
  company_member: ['company_id', 'identity_id'],
  blob: ['id'],
  blob_part: ['blob_id', 'number'],
  small_content: ['blob_id'],
  box: ['id'],
  box_member: ['box_id', 'identity_id'],
  box_event: ['n'],
  box_key_share: ['hash'],
  saved_file: ['n'],
  quotum: ['id'],
  category: ['id'],
  account_file: ['n'],
  account_usage: ['owner_id'],
  pin: ['identity_id'],
  pin_failure: ['identity_id', 'address_index'],
  pin_key: ['key_hash'],
  download: ['id'],
  download_file: ['download_id', 'position'],
  company_file: ['id'],
  company_upload: ['file_id'],
  preview: ['file_id', 'position'],
  preview_job: ['file_id'],
  scrub_finding: ['blob_id', 'number'],
}

/** A table whose rows are carried over as they are. */
export interface MovedTable {
  readonly name: keyof typeof KEYS
  readonly key: readonly string[]
}

export const MOVED_TABLES: readonly MovedTable[] = Object.entries(KEYS).map(([name, key]) => ({
  name: name as MovedTable['name'],
  key,
}))
