import { type RawBuilder, sql } from 'kysely'
import type { Reader } from '../database.ts'
import type { Schema } from '../schema.ts'

/**
 * A table with a sealed column, always called `sealed`. Row id and tenant are what `SealedColumn` was
 * given; as SQL they stand for any database.
 */
export interface SealedTable {
  readonly name: keyof Schema
  /** Columns of the primary key, in its order. */
  readonly key: readonly string[]
  readonly row: RawBuilder<string>
  readonly tenant: RawBuilder<string>
  /** Of a row whose `blob_id` links to a blob: the field of its JSON that says which. */
  readonly link?: 'blobId' | 'fileId'
}

/** A sealed value and what it is bound to. */
export interface SealedValue {
  /** Of its row, in the order of the table's key columns. */
  readonly key: readonly (string | number)[]
  readonly row: string
  readonly tenant: string
  readonly sealed: Uint8Array
  /** The blob that its row links to. */
  readonly linked: string | null
}

const id = sql<string>`id`
const nobody = sql<string>`''`

/** Every table with a sealed column: to look into all of them, or to seal them anew. */
export const SEALED_TABLES: readonly SealedTable[] = [
  { name: 'identity', key: ['id'], row: id, tenant: nobody },
  { name: 'api_token', key: ['id'], row: id, tenant: sql`identity_id` },
  { name: 'company', key: ['id'], row: id, tenant: id },
  { name: 'blob', key: ['id'], row: id, tenant: nobody },
  {
    name: 'blob_part',
    key: ['blob_id', 'number'],
    row: sql`blob_id || '.' || number`,
    tenant: nobody,
  },
  { name: 'small_content', key: ['blob_id'], row: sql`blob_id`, tenant: nobody },
  { name: 'box', key: ['id'], row: id, tenant: id },
  { name: 'box_event', key: ['n'], row: id, tenant: sql`box_id`, link: 'fileId' },
  { name: 'box_key_share', key: ['hash'], row: sql`hash`, tenant: sql`box_id` },
  { name: 'saved_file', key: ['n'], row: id, tenant: sql`identity_id`, link: 'blobId' },
  { name: 'category', key: ['id'], row: id, tenant: sql`owner_id` },
  { name: 'account_file', key: ['n'], row: id, tenant: sql`owner_id`, link: 'blobId' },
  { name: 'pin', key: ['identity_id'], row: sql`identity_id`, tenant: sql`identity_id` },
  { name: 'company_file', key: ['id'], row: id, tenant: sql`company_id`, link: 'blobId' },
  {
    name: 'company_upload',
    key: ['file_id'],
    row: sql`file_id`,
    tenant: sql`(select company_id from company_file where company_file.id = company_upload.file_id)`,
    link: 'blobId',
  },
  {
    name: 'preview',
    key: ['file_id', 'position'],
    row: sql`file_id || '.' || position`,
    tenant: sql`(select company_id from company_file where company_file.id = preview.file_id)`,
    link: 'blobId',
  },
]

/** The epoch within a sealed value; each table has an index `<table>_sealed_epoch` of it. */
export const sealedEpoch = sql<Uint8Array | null>`substr(sealed, 2, 4)`

/** An epoch as `sealedEpoch` gives it. */
export function epochBytes(number: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(number)
  return bytes
}

/** The number of such an epoch. */
export function epochOf(bytes: Uint8Array): number {
  return Buffer.from(bytes).readUInt32BE()
}

/**
 * The sealed values of a table in the order of its key, at most `limit` of them.
 *
 * @param after key of the last row of the batch before; without it from the first row on
 */
export function sealedValues(
  reader: Reader,
  table: SealedTable,
  limit: number,
  after?: SealedValue['key'],
): Promise<SealedValue[]> {
  const columns = sql.join(table.key.map((column) => sql.ref(column)))
  const isLater = after ? sql`and (${columns}) > (${sql.join(after)})` : sql``
  return select(reader, table, sql`sealed is not null ${isLater} order by ${columns}`, limit)
}

/** Sealed values of a table that were sealed in an epoch, at most `limit` of them, in no order. */
export function sealedValuesOf(
  reader: Reader,
  table: SealedTable,
  epoch: number,
  limit: number,
): Promise<SealedValue[]> {
  return select(reader, table, sql`${sealedEpoch} = ${epochBytes(epoch)}`, limit)
}

async function select(
  reader: Reader,
  { name, key, row, tenant, link }: SealedTable,
  which: RawBuilder<unknown>,
  limit: number,
): Promise<SealedValue[]> {
  const columns = sql.join(key.map((column) => sql.ref(column)))
  const { rows } = await sql<Record<string, string | number> & Omit<SealedValue, 'key'>>`
    select ${columns}, ${row} as "row", ${tenant} as tenant, sealed,
      ${link ? sql`blob_id` : sql`null`} as linked
    from ${sql.table(name)} where ${which} limit ${limit}`.execute(reader)
  return rows.map((found) => ({
    key: key.map((column) => found[column] as string | number),
    row: found.row,
    tenant: found.tenant,
    sealed: found.sealed,
    linked: found.linked,
  }))
}
