import { type RawBuilder, sql } from 'kysely'
import { CoreError } from '../errors.ts'
import type { BlobLink, BlobTable } from '../schema.ts'

/**
 * Holds the blob that a row links to against the one that its sealed column says: somebody who can write
 * the database must not turn a link to another's content. Rows that were sealed before this was
 * recorded say nothing.
 *
 * @throws CoreError integrity
 */
export function requireLink(blobId: string | null, sealed: BlobLink['blobId']): void {
  if (sealed === undefined || sealed === blobId) return
  throw new CoreError(
    'integrity',
    `a row links to blob ${blobId}, which is not the one it was made for`,
  )
}

/**
 * Tables whose column `blob_id` keeps a blob alive, and the state of a blob that they link to. A row
 * without a blob has no value there.
 */
export const LINKING_TABLES = [
  { name: 'box_event', state: 'stored' },
  { name: 'saved_file', state: 'stored' },
  { name: 'account_file', state: 'stored' },
  { name: 'company_file', state: 'stored' },
  { name: 'company_upload', state: 'receiving' },
  { name: 'preview', state: 'stored' },
] as const satisfies readonly { name: string; state: BlobTable['state'] }[]

/** Holds for a blob that nothing keeps alive. The links themselves are asked, not a counter that could drift. */
export function hasNoLink(blobId: RawBuilder<string>): RawBuilder<boolean> {
  const links = LINKING_TABLES.map(
    ({ name }) =>
      sql`not exists (select 1 from ${sql.table(name)} where ${sql.ref(`${name}.blob_id`)} = ${blobId})`,
  )
  return sql<boolean>`(${sql.join(links, sql` and `)})`
}
