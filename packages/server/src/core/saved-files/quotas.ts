import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Database, Reader, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Row } from '../schema.ts'

export interface QuotaRules {
  /** Bytes that everybody has without more being granted. */
  base: number
  /** Whether what does not fit is refused; otherwise quotas are only reported. */
  enforced: boolean
}

/** An amount of storage granted to somebody. */
export interface Quotum {
  readonly id: string
  readonly identityId: string
  /** Bytes. */
  readonly value: number
  readonly origin: 'base'
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

/**
 * What people may store and do store: everything in the boxes they made, whoever put it there, and
 * the files they saved. A saved box file counts for both.
 */
export interface Quotas {
  /** What somebody was granted; the first question grants the base. */
  granted(identityId: string): Promise<Quotum[]>
  /** Bytes in each box somebody made that was ever written to. */
  usedByBoxes(identityId: string): Promise<{ boxId: string; bytes: number }[]>
  /** Bytes of the files somebody saved. */
  usedBySavedFiles(identityId: string): Promise<number>
  /**
   * Called in the transaction that stores, after its rows are written.
   *
   * @param size bytes that were added; nothing is refused for nothing
   * @throws CoreError quota_exceeded
   */
  requireRoom(writer: Writer, identityId: string, size: number): Promise<void>
}

export function createQuotas(database: Database, clock: Clock, rules: QuotaRules): Quotas {
  async function quotaOf(reader: Reader, identityId: string): Promise<Row<'quotum'>[]> {
    return reader
      .selectFrom('quotum')
      .selectAll()
      .where('identity_id', '=', identityId)
      .orderBy('created_at')
      .execute()
  }

  async function boxesOf(reader: Reader, identityId: string) {
    const rows = await reader
      .selectFrom('box')
      .select(['id', 'used_bytes'])
      .where('creator_id', '=', identityId)
      .where('used_bytes', 'is not', null)
      .orderBy('created_at')
      .execute()
    return rows.map((row) => ({ boxId: row.id, bytes: row.used_bytes ?? 0 }))
  }

  async function savedBytes(reader: Reader, identityId: string): Promise<number> {
    const { bytes } = await reader
      .selectFrom('saved_file')
      .innerJoin('blob', 'blob.id', 'saved_file.blob_id')
      .select((eb) => eb.fn.coalesce(eb.fn.sum<number>('blob.size'), eb.lit(0)).as('bytes'))
      .where('saved_file.identity_id', '=', identityId)
      .executeTakeFirstOrThrow()
    return bytes
  }

  return {
    async granted(identityId) {
      let rows = await quotaOf(database.read, identityId)
      if (rows.length === 0) {
        rows = await database.write(async (writer) => {
          await writer
            .insertInto('quotum')
            .values({
              id: randomUUID(),
              identity_id: identityId,
              value: rules.base,
              origin: 'base',
              created_at: clock(),
            })
            .onConflict((conflict) => conflict.columns(['identity_id', 'origin']).doNothing())
            .execute()
          return quotaOf(writer, identityId)
        })
      }
      return rows.map((row) => ({
        id: row.id,
        identityId,
        value: row.value,
        origin: row.origin,
        createdAt: row.created_at,
      }))
    },

    usedByBoxes: (identityId) => boxesOf(database.read, identityId),
    usedBySavedFiles: (identityId) => savedBytes(database.read, identityId),

    async requireRoom(writer, identityId, size) {
      if (!rules.enforced || size === 0) return
      const granted = await quotaOf(writer, identityId)
      const room = granted.reduce((sum, { value }) => sum + value, granted.length ? 0 : rules.base)
      const boxes = await boxesOf(writer, identityId)
      const inBoxes = boxes.reduce((sum, { bytes }) => sum + bytes, 0)
      if (inBoxes + (await savedBytes(writer, identityId)) <= room) return
      throw new CoreError('quota_exceeded', 'the storage quota is used up')
    },
  }
}
