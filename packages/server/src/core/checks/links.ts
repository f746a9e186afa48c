import { randomUUID } from 'node:crypto'
import { type RawBuilder, sql } from 'kysely'
import { pages } from '../batches.ts'
import { hasNoLink, LINKING_TABLES } from '../blobs/links.ts'
import { partName } from '../blobs/names.ts'
import { createPart } from '../blobs/parts.ts'
import type { BlobStore } from '../blobs/store.ts'
import type { Database } from '../database.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedBytes } from '../keys/sealed-column.ts'
import type { Finding } from './findings.ts'
import { isIntegrity } from './parts.ts'

const PAGE = 500

interface Unlinked {
  id: string
  created_at: number
}

/** Blobs that nothing keeps alive. Blob and links are looked at in one statement. */
export async function* findUnlinked(database: Database): AsyncGenerator<Unlinked> {
  for await (const page of pages<Unlinked>(PAGE, (last) =>
    database.read
      .selectFrom('blob')
      .select(['id', 'created_at'])
      .where('state', '<>', 'deleting')
      .where('id', '>', last?.id ?? '')
      .where(hasNoLink(sql`blob.id`))
      .orderBy('id')
      .limit(PAGE)
      .execute(),
  )) {
    yield* page
  }
}

/**
 * Takes a blob without links out of the database and moves its bytes to the trash. Content of the
 * database goes there as an age file.
 *
 * @returns whether that was done: somebody may have linked it, and content that does not open stays
 */
export async function trashUnlinked(
  parts: { database: Database; store: BlobStore; keyring: Keyring },
  blobId: string,
): Promise<boolean> {
  const { database, store } = parts
  const copy = await copySmallContent(parts, blobId)
  if (copy === 'unreadable') return false
  const objects = await database.write(async (writer) => {
    const rows = await writer
      .deleteFrom('blob_part')
      .where('blob_id', '=', blobId)
      .where(hasNoLink(sql`${blobId}`))
      .returning('object')
      .execute()
    await writer
      .deleteFrom('small_content')
      .where('blob_id', '=', blobId)
      .where(hasNoLink(sql`${blobId}`))
      .execute()
    const { numDeletedRows } = await writer
      .deleteFrom('blob')
      .where('id', '=', blobId)
      .where(hasNoLink(sql`${blobId}`))
      .executeTakeFirst()
    return numDeletedRows > 0n ? rows.map(({ object }) => object) : undefined
  })
  // After a crash here no row names them: the sweep does the same.
  for (const object of objects ?? []) await store.moveToTrash(object)
  return objects !== undefined
}

/** Puts content of the database into the trash, as an object of its own. */
async function copySmallContent(
  { database, store, keyring }: { database: Database; store: BlobStore; keyring: Keyring },
  blobId: string,
): Promise<'copied' | 'none' | 'unreadable'> {
  const row = await database.read
    .selectFrom('small_content')
    .select('sealed')
    .where('blob_id', '=', blobId)
    .executeTakeFirst()
  if (!row) return 'none'
  const name = `${partName(blobId, 1)}.${randomUUID()}`
  try {
    const content = sealedBytes(keyring, 'small_content').open(blobId, '', row.sealed)
    const part = await createPart(store, keyring, name)
    await part.write(content)
    await part.commit()
  } catch (error) {
    if (isIntegrity(error)) return 'unreadable'
    throw error
  }
  await store.moveToTrash(name)
  return 'copied'
}

/** What rows are known by in tables that have no column for that. */
const ROW_IDS: Partial<Record<string, RawBuilder<string>>> = {
  company_upload: sql`file_id`,
  preview: sql`file_id || '.' || position`,
}

/** Rows that refer to a blob that is not there or is not what they link to. */
export async function* findDangling(database: Database): AsyncGenerator<Finding> {
  for (const { name, state } of LINKING_TABLES) {
    const id = ROW_IDS[name] ?? sql`id`
    const table = sql.table(name)
    for await (const page of pages<{ id: string }>(PAGE, async (last) => {
      const { rows } = await sql<{ id: string }>`
        select ${id} as id from ${table} where blob_id is not null and ${id} > ${last?.id ?? ''}
          and not exists (select 1 from blob where blob.id = ${table}.blob_id and state = ${state})
        order by ${id} limit ${PAGE}`.execute(database.read)
      return rows
    })) {
      for (const row of page) {
        yield { kind: 'dangling', table: name, id: row.id, text: 'its blob is not there' }
      }
    }
  }
  for (const name of ['blob_part', 'small_content'] as const) {
    const row = name === 'blob_part' ? sql`blob_id || '.' || number` : sql`blob_id`
    const { rows } = await sql<{ id: string }>`
      select ${row} as id from ${sql.table(name)}
      where blob_id not in (select id from blob) order by 1`.execute(database.read)
    for (const { id } of rows) {
      yield { kind: 'dangling', table: name, id, text: 'its blob is not there' }
    }
  }
}
