import type { Kysely, Transaction } from 'kysely'
import type { Schema } from './schema.ts'

export type Reader = Kysely<Schema>
export type Writer = Transaction<Schema>

/** Rows by their numbers, from behind one. */
export interface NumberOrder {
  readonly descending: boolean
  readonly after: number
}

/** Tokens of names, five bytes in hexadecimal each, by the numbers of account files. */
export interface NameIndex {
  put(writer: Writer, n: number, tokens: readonly string[]): Promise<void>
  remove(writer: Writer, n: number): Promise<void>
  /**
   * Every row with all tokens is among those that are found, others may be; at most `limit` of those
   * behind one in an order.
   *
   * @param tokens in the order of the parts of a keyword
   */
  find(
    reader: Reader,
    tokens: readonly string[],
    order: NumberOrder,
    limit: number,
  ): Promise<number[]>
  /**
   * One step of joining the pieces that the index has come in: a search looks into each of them.
   *
   * @param isFirst of the steps of one tidying
   * @returns whether another step has something to do
   */
  tidy(writer: Writer, isFirst: boolean): Promise<boolean>
  /** Removes everything from it. */
  clear(writer: Writer): Promise<void>
}

/** Tables whose rows are numbered, in a column `n`, in the order in which they come. */
export const NUMBERED_TABLES = ['box_event', 'saved_file', 'account_file'] as const
export type NumberedTable = (typeof NUMBERED_TABLES)[number]

/** How the database numbers rows. A number is given once, also when its row is gone. */
export interface Numbering {
  /** The last number that was given; 0 when none was. */
  last(reader: Reader, table: NumberedTable): Promise<number>
  /** Gives numbers beyond `last` from now on. */
  goOnAfter(writer: Writer, table: NumberedTable, last: number): Promise<void>
}

/** Counts in windows of time, which a crash may lose. */
export interface RequestWindows {
  /**
   * Counts one more of an address, in its window or, when that has ended, in a new one.
   *
   * @param now milliseconds since the epoch
   * @returns how many there are in the window, and when that ends
   */
  count(
    address: Uint8Array,
    windowMs: number,
    now: number,
  ): Promise<{ requests: number; until: number }>
  /** Forgets windows that ended before. */
  forgetEnded(now: number): Promise<void>
}

/** The database as the core sees it. */
export interface Database {
  readonly nameIndex: NameIndex
  readonly numbering: Numbering
  /** Where several servers may share it. */
  readonly requestWindows?: RequestWindows
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
