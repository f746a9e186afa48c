import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { Blobs, StoredBlob } from '../../src/core/blobs/blobs.ts'
import { partName } from '../../src/core/blobs/names.ts'
import type { Writer } from '../../src/core/database.ts'
import type { Sealed } from '../../src/core/schema.ts'
import { inPieces } from './bytes.ts'
import { rowsOf, type TestStore } from './store.ts'
import { objectNames } from './test-blobs.ts'

export const LIMIT = 64 * 1024 * 1024

/** Somebody whose saved files keep the blobs of a test alive. */
export async function createKeeper({ core }: TestStore): Promise<string> {
  const { id } = await core.identities.createPerson({ email: 'keeper@example.com', name: 'Keeper' })
  return id
}

/** Links a blob, as saving a file does. */
export async function link(writer: Writer, keeper: string, blobId: string): Promise<void> {
  await writer
    .insertInto('saved_file')
    .values({
      id: randomUUID(),
      identity_id: keeper,
      blob_id: blobId,
      sealed: new Uint8Array(0) as Sealed<never>,
      created_at: 0,
    })
    .execute()
}

/** Stages bytes and links them. */
export async function keep(
  { core }: TestStore,
  keeper: string,
  bytes: Uint8Array,
): Promise<StoredBlob> {
  const staged = await core.blobs.stage(inPieces(bytes), LIMIT)
  await core.blobs.keep(staged, (writer) => link(writer, keeper, staged.id))
  return { id: staged.id, size: staged.size }
}

/** Takes away every link to a blob. */
export async function unlink(blobs: Blobs, blobId: string): Promise<void> {
  await blobs.unlinking(async (writer, release) => {
    await writer.deleteFrom('saved_file').where('blob_id', '=', blobId).execute()
    await release(blobId)
  })
}

/** Everything a store holds of blobs. */
export interface Held {
  /** `<id> <state>`, sorted. */
  blobs: string[]
  /** `<id>.<number>` of rows, sorted. */
  parts: string[]
  /** Ids of content in the database, sorted. */
  small: string[]
  /** Paths below the data folder of objects, unfinished ones and trash, sorted. */
  files: string[]
}

export async function held(store: TestStore): Promise<Held> {
  const values = async (sql: string) =>
    (await rowsOf(store.config, `select ${sql} order by 1`)).map((row) => String(row.value))
  const found = {
    blobs: await values(`id || ' ' || state as value from blob`),
    parts: await values(`blob_id || '.' || number as value from blob_part`),
    small: await values('blob_id as value from small_content'),
  }
  const files: string[] = []
  for (const folder of ['blobs', 'tmp', 'trash']) {
    files.push(...(await objectNames(store.config, folder)))
  }
  return { ...found, files }
}

export const NOTHING: Held = { blobs: [], parts: [], small: [], files: [] }

/** The file of a blob's part. */
export function fileOf(store: TestStore, blobId: string): string {
  return join(store.config.data, partName(blobId, 1))
}
