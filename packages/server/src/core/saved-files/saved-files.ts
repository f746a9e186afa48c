import { randomUUID } from 'node:crypto'
import type { Blobs, StagedBlob } from '../blobs/blobs.ts'
import { requireFileInBox } from '../boxes/access.ts'
import type { Page } from '../boxes/events.ts'
import type { Clock } from '../clock.ts'
import type { Database, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { type SealedColumn, sealedJson } from '../keys/sealed-column.ts'
import type { BlobLink, Row, SavedFileText } from '../schema.ts'
import type { Quotas } from './quotas.ts'

/** Characters, however they are encoded. */
const SHORT = /^.{0,255}$/su

/** A person's own kept link to a file that a client encrypted. */
export interface SavedFile extends SavedFileText {
  readonly id: string
  readonly identityId: string
  readonly fileId: string
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

/** Files that people keep, whatever becomes of the box they came from. */
export interface SavedFiles {
  /**
   * Keeps a file of a box. Having it saved elsewhere does not count as access.
   *
   * @throws CoreError file_forbidden when the file is in no box that the person is a member of now
   *   (also for a file that is not there), fingerprint_too_long, already_saved,
   *   quota_exceeded
   */
  save(identityId: string, fileId: string, text: SavedFileText): Promise<SavedFile>
  /** Keeps staged bytes without a box, or drops them when that fails. @throws CoreError file_empty, fingerprint_too_long, quota_exceeded */
  saveUpload(identityId: string, file: StagedBlob, text: SavedFileText): Promise<SavedFile>
  /** Newest first. */
  list(identityId: string, page: Page): Promise<SavedFile[]>
  count(identityId: string): Promise<number>
  /** The files of a box that the person has saved. */
  savedOfBox(identityId: string, boxId: string): Promise<Set<string>>
  /** The file goes when this was its last link. @throws CoreError saved_file_not_found, saved_file_forbidden */
  remove(identityId: string, id: string): Promise<void>
}

export function createSavedFiles(
  database: Database,
  keyring: Keyring,
  clock: Clock,
  blobs: Blobs,
  quotas: Quotas,
): SavedFiles {
  const column = savedFileColumn(keyring)

  function open(row: Row<'saved_file'>): SavedFile {
    const { id, identity_id, blob_id, created_at, sealed } = row
    const { encryptedMetadata, keyFingerprint } = column.open(id, identity_id, sealed)
    return {
      id,
      identityId: identity_id,
      fileId: blob_id,
      encryptedMetadata,
      keyFingerprint,
      createdAt: created_at,
    }
  }

  async function insert(
    writer: Writer,
    identityId: string,
    fileId: string,
    text: SavedFileText,
  ): Promise<SavedFile> {
    if (!SHORT.test(text.keyFingerprint)) {
      throw new CoreError('fingerprint_too_long', 'a fingerprint has at most 255 characters')
    }
    const id = randomUUID()
    const row = await writer
      .insertInto('saved_file')
      .values({
        id,
        identity_id: identityId,
        blob_id: fileId,
        sealed: column.seal(id, identityId, { ...text, blobId: fileId }),
        created_at: clock(),
      })
      .onConflict((conflict) => conflict.columns(['identity_id', 'blob_id']).doNothing())
      .returningAll()
      .executeTakeFirst()
    if (!row) throw new CoreError('already_saved', 'saved already')
    return open(row)
  }

  return {
    save: (identityId, fileId, text) =>
      database.write(async (writer) => {
        await requireFileInBox(writer, keyring, identityId, fileId)
        const { size } = await blobs.lock(writer, fileId)
        const saved = await insert(writer, identityId, fileId, text)
        await quotas.requireRoom(writer, identityId, size)
        return saved
      }),

    saveUpload: (identityId, file, text) =>
      blobs.keep(file, async (writer) => {
        if (file.size === 0) throw new CoreError('file_empty', 'an empty file')
        const saved = await insert(writer, identityId, file.id, text)
        await quotas.requireRoom(writer, identityId, file.size)
        return saved
      }),

    async list(identityId, { offset, limit }) {
      const rows = await database.read
        .selectFrom('saved_file')
        .selectAll()
        .where('identity_id', '=', identityId)
        .orderBy('n', 'desc')
        .limit(limit === 0 ? Number.MAX_SAFE_INTEGER : limit)
        .offset(offset)
        .execute()
      return rows.map(open)
    },

    async count(identityId) {
      const { count } = await database.read
        .selectFrom('saved_file')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('identity_id', '=', identityId)
        .executeTakeFirstOrThrow()
      return count
    },

    async savedOfBox(identityId, boxId) {
      const rows = await database.read
        .selectFrom('saved_file')
        .innerJoin('box_event', 'box_event.blob_id', 'saved_file.blob_id')
        .select('saved_file.blob_id')
        .where('saved_file.identity_id', '=', identityId)
        .where('box_event.box_id', '=', boxId)
        .execute()
      return new Set(rows.map((row) => row.blob_id))
    },

    remove: (identityId, id) =>
      blobs.unlinking(async (writer, release) => {
        const row = await writer
          .selectFrom('saved_file')
          .select(['identity_id', 'blob_id'])
          .where('id', '=', id)
          .executeTakeFirst()
        if (!row) throw new CoreError('saved_file_not_found', 'no such saved file')
        if (row.identity_id !== identityId) {
          throw new CoreError('saved_file_forbidden', 'saved by somebody else')
        }
        await writer.deleteFrom('saved_file').where('id', '=', id).execute()
        await release(row.blob_id)
      }),
  }
}

export function savedFileColumn(keyring: Keyring): SealedColumn<SavedFileText & BlobLink> {
  return sealedJson(keyring, 'saved_file')
}
