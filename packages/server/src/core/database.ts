import type { Kysely, Transaction } from 'kysely'
import type { Schema } from './schema.ts'

export type Reader = Kysely<Schema>
export type Writer = Transaction<Schema>

/** The database as the core sees it. */
export interface Database {
  /** Sees what is committed. Answers of reading requests may rest on it without waiting for the disk. */
  readonly read: Reader
  /**
   * Runs `work` in one transaction and settles once everything committed so far is on the disk, also
   * when `work` threw: a refusal ("exists", "already gone") may rest on somebody else's commit.
   * No I/O but queries may be awaited inside `work`. Columns are sealed inside, where the epoch that
   * they are sealed to cannot end. `work` may run more than once.
   *
   * @throws CoreError storage_full, storage_unavailable, key_unavailable
   */
  write<T>(work: (writer: Writer) => Promise<T>): Promise<T>
  /**
   * What the database finds wrong with its own pages, indexes and references, in its words; nothing
   * that anybody wrote is in them.
   */
  check(): Promise<string[]>
  close(): Promise<void>
}
