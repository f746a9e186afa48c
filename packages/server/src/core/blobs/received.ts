import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Database, Reader, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import { failpoint } from '../failpoints.ts'
import { requireEpoch } from '../keys/epochs.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedJson } from '../keys/sealed-column.ts'
import type { BlobSeal } from '../schema.ts'
import { type BlobChanges, mayBeCommitted, type StoredBlob } from './blobs.ts'
import { copyName } from './names.ts'
import { createPartInsert } from './part-rows.ts'
import { createPart, largestPart, readPart, type StoredPart } from './parts.ts'
import type { BlobStore } from './store.ts'

/** One part of a blob, sealed and durable, that nobody can see yet. */
export interface StagedPart extends StoredPart {
  readonly blobId: string
  /** From 1. */
  readonly number: number
}

/** A part that a blob has. */
export interface ReceivedPart {
  readonly number: number
  /** Bytes of content. */
  readonly size: number
}

/**
 * Blobs that arrive part by part, in any order. Each part is an age file of its own key; what arrives
 * is what stays, there is no second copy at the end.
 */
export interface ReceivedBlobs {
  /** Makes a blob without parts; the same transaction must link to it. */
  begin(writer: Writer): Promise<string>
  /**
   * Receives, seals and stores a part; memory does not grow with its size.
   *
   * @param source a piece is not looked at any more when the next is asked for
   * @param limit bytes; one more is refused
   * @throws CoreError file_too_large, storage_full, storage_unavailable, or what `source` throws
   */
  stage(
    blobId: string,
    number: number,
    source: AsyncIterable<Uint8Array>,
    limit: number,
  ): Promise<StagedPart>
  /** Forgets a staged part. */
  discard(part: StagedPart): Promise<void>
  /** Forgets a staged part after its transaction failed, unless it may have succeeded all the same. */
  discardAfter(part: StagedPart, error: unknown): Promise<void>
  /** Makes a staged part its blob's; an earlier copy of it goes. */
  put(writer: Writer, changes: BlobChanges, part: StagedPart): Promise<void>
  /** How many parts there are and how large they are together. */
  total(reader: Reader, blobId: string): Promise<{ parts: number; size: number }>
  /** Makes the blob an ordinary one: nothing is added or replaced any more. */
  finish(writer: Writer, blobId: string, whole: BlobSeal): Promise<void>
  /** In their order. Content that the database holds is one part. */
  parts(reader: Reader, blobId: string): Promise<ReceivedPart[]>
  /**
   * The chunks in which all of a blob came: its parts, but for content that came in one, which the
   * store may have split.
   */
  chunks(reader: Reader, blob: StoredBlob, count: number | null): Promise<ReceivedPart[]>
  /** One of them, if it is there. */
  part(reader: Reader, blobId: string, number: number): Promise<ReceivedPart | undefined>
  /** The bytes of a staged part. @throws CoreError integrity */
  read(part: StagedPart): AsyncGenerator<Uint8Array>
}

export function createReceivedBlobs(
  database: Database,
  store: BlobStore,
  keyring: Keyring,
  clock: Clock,
): ReceivedBlobs {
  const insertPart = createPartInsert(database, keyring)
  const blobColumn = sealedJson<BlobSeal>(keyring, 'blob')

  async function discard(part: StagedPart): Promise<void> {
    await store.remove([part.object])
  }

  return {
    async begin(writer) {
      const id = randomUUID()
      await writer
        .insertInto('blob')
        .values({ id, size: 0, state: 'receiving', created_at: clock(), sealed: null })
        .execute()
      return id
    },

    async stage(blobId, number, source, limit) {
      // A part may come again while an earlier copy is in use.
      const part = await createPart(store, keyring, copyName(blobId, number))
      // One part is one object: who sends larger chunks has to send more of them.
      const most = Math.min(limit, largestPart(store))
      try {
        let size = 0
        for await (const bytes of source) {
          size += bytes.byteLength
          if (size > most) throw new CoreError('file_too_large', `more than ${most} bytes`)
          await part.write(bytes)
        }
        const staged = { blobId, number, ...(await part.commit()) }
        await failpoint('part.staged')
        return staged
      } catch (error) {
        await part.abort()
        throw error
      }
    },

    discard,

    async discardAfter(part, error) {
      if (!mayBeCommitted(error)) await discard(part)
    },

    async put(writer, changes, part) {
      await requireEpoch(writer, keyring, part.epoch)
      const earlier = await writer
        .deleteFrom('blob_part')
        .where('blob_id', '=', part.blobId)
        .where('number', '=', part.number)
        .returning('object')
        .executeTakeFirst()
      if (earlier) changes.drop(earlier.object)
      await insertPart(writer, part.blobId, part.number, part)
      changes.take(part.object)
      await failpoint('part.put')
    },

    total: (reader, blobId) =>
      reader
        .selectFrom('blob_part')
        .select((eb) => [
          eb.fn.countAll<number>().as('parts'),
          eb.fn.coalesce(eb.fn.sum<number>('plain_size'), eb.lit(0)).as('size'),
        ])
        .where('blob_id', '=', blobId)
        .executeTakeFirstOrThrow(),

    async finish(writer, blobId, whole) {
      await writer
        .updateTable('blob')
        .set({
          state: 'stored',
          size: whole.size,
          sealed: blobColumn.seal(blobId, '', whole),
        })
        .where('id', '=', blobId)
        .execute()
      await failpoint('parts.whole')
    },

    async parts(reader, blobId) {
      const parts = await partsOf(reader, blobId).execute()
      return parts.length > 0 ? parts : smallContent(reader, blobId)
    },

    async chunks(reader, blob, count) {
      if (count === 1) return [{ number: 1, size: blob.size }]
      return partsOf(reader, blob.id).execute()
    },

    async part(reader, blobId, number) {
      const [part] = await partsOf(reader, blobId).where('number', '=', number).execute()
      return part ?? (number === 1 ? (await smallContent(reader, blobId))[0] : undefined)
    },

    read: (part) => readPart(store, keyring, part, 0, part.plainSize),
  }
}

function partsOf(reader: Reader, blobId: string) {
  return reader
    .selectFrom('blob_part')
    .select(['number', 'plain_size as size'])
    .where('blob_id', '=', blobId)
    .orderBy('number')
}

async function smallContent(reader: Reader, blobId: string): Promise<ReceivedPart[]> {
  const blob = await reader
    .selectFrom('small_content')
    .innerJoin('blob', 'blob.id', 'small_content.blob_id')
    .select('blob.size')
    .where('blob.id', '=', blobId)
    .executeTakeFirst()
  return blob ? [{ number: 1, size: blob.size }] : []
}
