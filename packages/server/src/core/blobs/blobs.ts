import { randomUUID } from 'node:crypto'
import { type RawBuilder, sql } from 'kysely'
import type { Clock } from '../clock.ts'
import type { Database, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import { failpoint } from '../failpoints.ts'
import { requireEpoch } from '../keys/epochs.ts'
import type { Keyring } from '../keys/keyring.ts'
import { SEALED_COLUMN_OVERHEAD, sealedBytes, sealedJson } from '../keys/sealed-column.ts'
import { prepare } from '../prepared.ts'
import type { BlobSeal } from '../schema.ts'
import { hasNoLink } from './links.ts'
import { partName } from './names.ts'
import { createPartInsert } from './part-rows.ts'
import { createParts, type PartsWriter, type StoredPart } from './parts.ts'
import { createReaders, READERS_MS } from './readers.ts'
import { createReading } from './reading.ts'
import type { StagedObjects } from './staged.ts'
import type { BlobStore } from './store.ts'

/** Bytes that are sealed and durable but that nobody can see yet. */
export interface StagedBlob {
  readonly id: string
  /** Bytes of content. */
  readonly size: number
  /** Content that goes into the database, or undefined when it is stored as parts. */
  readonly small: Uint8Array | undefined
  readonly parts: readonly StoredPart[]
}

/** A blob that can be read. */
export interface StoredBlob {
  readonly id: string
  /** Bytes of content. */
  readonly size: number
}

export type Release = (blobId: string) => Promise<void>

/** What a transaction does to stored bytes; whatever is taken away goes once it is on the disk. */
export interface BlobChanges {
  /** To be called for a blob that lost a link: without any other it goes. */
  readonly release: Release
  /** The same for a blob that another took the place of: who reads it may read on. */
  readonly replace: Release
  /** Removes an object that no row names any more. */
  drop(object: string): void
  /** Says that a staged object gets its row. */
  take(object: string): void
}

/** Immutable stored bytes and their life, `docs/architecture.md`. */
export interface Blobs {
  /**
   * Receives, seals and stores content; memory does not grow with its size.
   *
   * @param source a piece is not looked at any more when the next is asked for
   * @param limit bytes; one more is refused
   * @throws CoreError file_too_large, storage_full, storage_unavailable, or what `source` throws
   */
  stage(source: AsyncIterable<Uint8Array>, limit: number): Promise<StagedBlob>
  /** Forgets staged bytes. */
  discard(staged: StagedBlob): Promise<void>
  /**
   * Makes staged bytes visible in one transaction with the link that `link` writes. When that
   * transaction fails the bytes are dropped.
   */
  keep<T>(
    staged: StagedBlob,
    link: (writer: Writer, changes: BlobChanges) => Promise<T>,
  ): Promise<T>
  /** The same for several, all of them or none. */
  keepAll<T>(
    staged: readonly StagedBlob[],
    link: (writer: Writer, changes: BlobChanges) => Promise<T>,
  ): Promise<T>
  /**
   * Makes sure that the blob can be given one more link, until the transaction ends.
   *
   * @throws CoreError file_not_found when it is gone or going
   */
  lock(writer: Writer, blobId: string): Promise<StoredBlob>
  /**
   * Runs a transaction that takes links away and calls `release` for each blob that lost one. Once
   * it is on the disk, the bytes of blobs without any link are removed for good.
   */
  unlinking<T>(work: (writer: Writer, release: Release) => Promise<T>): Promise<T>
  /** The same for work that does more than taking links away. */
  changing<T>(work: (writer: Writer, changes: BlobChanges) => Promise<T>): Promise<T>
  /**
   * Keeps the bytes of a blob readable, should it be overwritten, for an hour at most.
   *
   * @returns ends that
   */
  hold(blobId: string): () => void
  /** Removes the bytes and rows of blobs whose last link went before a crash; answers how many. */
  finishDeleting(): Promise<number>
  /**
   * The bytes from `start` up to but not including `end`, each authenticated before it is handed
   * over. Who reads them owns them, and should `free` what has gone out.
   *
   * @throws CoreError integrity, file_not_found
   */
  read(blob: StoredBlob, start: number, end: number): AsyncGenerator<Uint8Array>
}

/** Bytes that staged content takes where it is kept. */
export function sealedSizeOf({ small, parts }: StagedBlob): number {
  if (small) return small.byteLength + SEALED_COLUMN_OVERHEAD
  return parts.reduce((sum, part) => sum + part.sealedSize, 0)
}

/**
 * @param staged what is being written to the store
 * @param smallLimit content up to so many bytes lives in the database
 * @param isShared whether other servers may read what this one overwrites
 */
export function createBlobs(
  database: Database,
  store: BlobStore,
  staged: StagedObjects,
  keyring: Keyring,
  clock: Clock,
  smallLimit: number,
  isShared: boolean,
): Blobs {
  const blobColumn = sealedJson<BlobSeal>(keyring, 'blob')
  const smallColumn = sealedBytes(keyring, 'small_content')

  const insertBlob = prepare((slot: (name: 'id' | 'size' | 'createdAt' | 'sealed') => never) =>
    database.read.insertInto('blob').values({
      id: slot('id'),
      size: slot('size'),
      state: 'stored',
      created_at: slot('createdAt'),
      sealed: slot('sealed'),
    }),
  )
  const insertSmall = prepare((slot: (name: 'id' | 'sealed') => never) =>
    database.read
      .insertInto('small_content')
      .values({ blob_id: slot('id'), sealed: slot('sealed') }),
  )
  const insertPart = createPartInsert(database, keyring)

  const readers = createReaders(clock)

  async function discard(staged: StagedBlob): Promise<void> {
    await store.remove(staged.parts.map((part) => part.object))
  }

  async function insert(
    writer: Writer,
    { take }: BlobChanges,
    { id, size, small, parts }: StagedBlob,
  ): Promise<void> {
    const sealed = small ? null : blobColumn.seal(id, '', { size, parts: parts.length })
    await insertBlob(writer, { id, size, createdAt: clock(), sealed })
    if (small) await insertSmall(writer, { id, sealed: smallColumn.seal(id, '', small) })
    for (const [index, part] of parts.entries()) {
      await requireEpoch(writer, keyring, part.epoch)
      await insertPart(writer, id, index + 1, part)
      take(part.object)
    }
    await failpoint('blob.inserted')
  }

  /**
   * @param isRead whether somebody may still read its bytes, which then stay
   * @param keptUntil they wait until then for readers of other servers
   * @returns whether bytes are left to be removed
   */
  async function release(
    writer: Writer,
    blobId: string,
    isRead: boolean,
    keptUntil: number | null = null,
  ): Promise<boolean> {
    const marked = await writer
      .updateTable('blob')
      .set({ state: 'deleting', kept_until: keptUntil })
      .where('id', '=', blobId)
      .where(hasNoLink(sql`${blobId}`))
      .executeTakeFirst()
    if (marked.numUpdatedRows === 0n) return false
    await failpoint('blob.released')
    if (isRead) return true
    const { numDeletedRows } = await writer
      .deleteFrom('small_content')
      .where('blob_id', '=', blobId)
      .executeTakeFirst()
    if (numDeletedRows === 0n) return true
    await writer.deleteFrom('blob').where('id', '=', blobId).execute()
    return false
  }

  /** Only for blobs whose state `deleting` is on the disk. */
  async function removeBytes(blobIds: readonly string[]): Promise<void> {
    if (blobIds.length === 0) return
    const parts = await database.read
      .selectFrom('blob_part')
      .select('object')
      .where('blob_id', 'in', blobIds)
      .execute()
    await failpoint('blob.unlinked')
    await store.remove(parts.map((part) => part.object))
    await failpoint('blob.emptied')
    await database.write(async (writer) => {
      await writer.deleteFrom('blob_part').where('blob_id', 'in', blobIds).execute()
      await writer.deleteFrom('small_content').where('blob_id', 'in', blobIds).execute()
      await writer
        .deleteFrom('blob')
        .where('id', 'in', blobIds)
        .where('state', '=', 'deleting')
        .execute()
    })
  }

  const changing: Blobs['changing'] = async (work) => {
    const released: string[] = []
    const replaced: string[] = []
    const dropped: string[] = []
    const taken: string[] = []
    const written = database.write(async (writer) => {
      for (const list of [released, replaced, dropped, taken]) list.length = 0
      const result = await work(writer, {
        release: async (blobId) => {
          if (await release(writer, blobId, false)) released.push(blobId)
        },
        replace: async (blobId) => {
          // Who else reads it is not known here: the sweep removes it in time.
          if (isShared) await release(writer, blobId, true, clock() + READERS_MS)
          else if (await release(writer, blobId, readers.isRead(blobId))) replaced.push(blobId)
        },
        drop: (object) => dropped.push(object),
        take: (object) => taken.push(object),
      })
      await staged.require(writer, taken)
      return result
    })
    const result = await written.finally(() => staged.settle(taken))
    const unread = replaced.filter((blobId) => !readers.outlive(blobId))
    try {
      await removeBytes([...released, ...unread])
      if (dropped.length > 0) {
        await failpoint('copies.replaced')
        await store.remove(dropped)
      }
    } catch (cause) {
      // Whatever it is, what the transaction made visible is not to be taken for refused.
      throw new CoreError('storage_unavailable', 'bytes that nobody needs could not be removed', {
        cause,
      })
    }
    return result
  }

  const keepAll: Blobs['keepAll'] = async (staged, link) => {
    try {
      await failpoint('blob.staged')
      return await changing(async (writer, changes) => {
        for (const each of staged) await insert(writer, changes, each)
        return link(writer, changes)
      })
    } catch (error) {
      if (!mayBeCommitted(error)) await Promise.all(staged.map(discard))
      throw error
    }
  }

  return {
    async stage(source, limit) {
      const id = randomUUID()
      const pending: Uint8Array[] = []
      let size = 0
      let parts: PartsWriter | undefined
      try {
        for await (const bytes of source) {
          size += bytes.byteLength
          if (size > limit) throw new CoreError('file_too_large', `more than ${limit} bytes`)
          if (parts) {
            await parts.write(bytes)
            continue
          }
          pending.push(Uint8Array.from(bytes))
          if (size <= smallLimit) continue
          parts = await createParts(store, keyring, (number) => partName(id, number))
          for (const earlier of pending.splice(0)) await parts.write(earlier)
        }
        if (!parts) return { id, size, small: Buffer.concat(pending), parts: [] }
        return { id, size, small: undefined, parts: await parts.commit() }
      } catch (error) {
        await parts?.abort()
        throw error
      }
    },

    discard,

    keep: (staged, link) => keepAll([staged], link),
    keepAll,

    async lock(writer, blobId) {
      // SQLite's one writer at a time is the lock.
      const row = await writer
        .selectFrom('blob')
        .select(['id', 'size'])
        .where('id', '=', blobId)
        .where('state', '=', 'stored')
        .executeTakeFirst()
      if (!row) throw new CoreError('file_not_found', 'no such blob')
      return row
    },

    unlinking: (work) => changing((writer, { release }) => work(writer, release)),
    changing,

    hold(blobId) {
      const end = readers.begin(blobId)
      let held = true
      return () => {
        const isFree = held && end()
        held = false
        if (!isFree) return
        // What cannot be removed now is left for the sweep.
        removeBytes([blobId]).catch(() => undefined)
      }
    },

    async finishDeleting() {
      const rows = await database.read
        .selectFrom('blob')
        .select('id')
        .where(isToRemove(clock()))
        // A state may be turned like any plain column; what somebody still has is not removed for it.
        .where(hasNoLink(sql`blob.id`))
        .execute()
      const unread = rows.filter(({ id }) => !readers.areWaitedFor(id))
      for (const { id } of unread) await removeBytes([id])
      return unread.length
    },

    read: createReading(database, store, keyring).read,
  }
}

/** Holds for a blob whose bytes are to be removed and wait for nobody. @param now milliseconds since the epoch */
export function isToRemove(now: number): RawBuilder<boolean> {
  return sql<boolean>`(blob.state = 'deleting' and coalesce(blob.kept_until, 0) <= ${now})`
}

/**
 * Whether a transaction that failed may have reached the disk all the same. What it would have made
 * visible is then not removed: the sweep decides.
 */
export function mayBeCommitted(error: unknown): boolean {
  return error instanceof CoreError && error.code === 'storage_unavailable'
}
