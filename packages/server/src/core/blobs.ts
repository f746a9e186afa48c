import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import {
  CHUNK_SIZE,
  chunkRange,
  createSealer,
  openChunk,
  openHeader,
  SEALED_CHUNK_SIZE,
  SealError,
} from '@holdfast/seal'
import { sql } from 'kysely'
import type { Clock } from './clock.ts'
import type { Database, Writer } from './database.ts'
import { CoreError } from './errors.ts'
import type { Keyring } from './keyring.ts'
import { free } from './memory.ts'
import type { BlobStore, ObjectReader } from './ports/blob-store.ts'
import type { PartSeal, Row } from './schema.ts'
import { SEALED_COLUMN_OVERHEAD, sealedBytes, sealedJson } from './sealed-column.ts'

/** Sealed chunks that one read of the store fetches: half a MiB. */
const CHUNKS_PER_READ = 8
/** Our own headers are below 2 KiB; a stored object is asked for no more than this to find its payload. */
const HEADER_READ = 4096

interface PartOfEpoch extends PartSeal {
  epoch: number
}

/** Bytes that are sealed and durable but that nobody can see yet. */
export interface StagedBlob {
  readonly id: string
  /** Bytes of content. */
  readonly size: number
  /** Content that goes into the database, or undefined when it is stored as parts. */
  readonly small: Uint8Array | undefined
  readonly parts: readonly PartOfEpoch[]
}

/** A blob that can be read. */
export interface StoredBlob {
  readonly id: string
  /** Bytes of content. */
  readonly size: number
}

export type Release = (blobId: string) => Promise<void>

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
  keep<T>(staged: StagedBlob, link: (writer: Writer) => Promise<T>): Promise<T>
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

/** The store's name of a part. */
export function partName(blobId: string, number: number): string {
  return `${BLOB_FOLDER}${blobId.slice(0, 2)}/${blobId}.${number}`
}

/** The blob of a part's name in the store. */
export function blobIdOf(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1).replace(/\.\d+$/, '')
}

/** Bytes that staged content takes where it is kept. */
export function sealedSizeOf({ small, parts }: StagedBlob): number {
  if (small) return small.byteLength + SEALED_COLUMN_OVERHEAD
  return parts.reduce((sum, part) => sum + part.sealedSize, 0)
}

/** The store's folder of all parts. */
export const BLOB_FOLDER = 'blobs/'

/** @param smallLimit content up to so many bytes lives in the database */
export function createBlobs(
  database: Database,
  store: BlobStore,
  keyring: Keyring,
  clock: Clock,
  smallLimit: number,
): Blobs {
  const partColumn = sealedJson<PartSeal>(keyring, 'blob_part')
  const smallColumn = sealedBytes(keyring, 'small_content')

  async function discard(staged: StagedBlob): Promise<void> {
    await store.remove(staged.parts.map((_, index) => partName(staged.id, index + 1)))
  }

  async function insert(writer: Writer, staged: StagedBlob): Promise<void> {
    const { id, size, small, parts } = staged
    await writer
      .insertInto('blob')
      .values({ id, size, state: 'stored', created_at: clock() })
      .execute()
    if (small) {
      const sealed = smallColumn.seal(id, '', small)
      await writer.insertInto('small_content').values({ blob_id: id, sealed }).execute()
    }
    for (const [index, { epoch, ...seal }] of parts.entries()) {
      const number = index + 1
      await writer
        .insertInto('blob_part')
        .values({
          blob_id: id,
          number,
          plain_size: seal.plainSize,
          sealed_size: seal.sealedSize,
          epoch,
          sealed: partColumn.seal(`${id}.${number}`, '', seal),
        })
        .execute()
    }
  }

  /** @returns whether parts are left to be removed from the store */
  async function release(writer: Writer, blobId: string): Promise<boolean> {
    // The links themselves are asked, not a counter that could drift.
    const marked = await writer
      .updateTable('blob')
      .set({ state: 'deleting' })
      .where('id', '=', blobId)
      .where(sql<boolean>`not exists (select 1 from box_event where blob_id = ${blobId})`)
      .where(sql<boolean>`not exists (select 1 from saved_file where blob_id = ${blobId})`)
      .where(sql<boolean>`not exists (select 1 from account_file where blob_id = ${blobId})`)
      .executeTakeFirst()
    if (marked.numUpdatedRows === 0n) return false
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
      .select(['blob_id', 'number'])
      .where('blob_id', 'in', blobIds)
      .execute()
    await store.remove(parts.map((part) => partName(part.blob_id, part.number)))
    await database.write(async (writer) => {
      await writer.deleteFrom('blob_part').where('blob_id', 'in', blobIds).execute()
      await writer
        .deleteFrom('blob')
        .where('id', 'in', blobIds)
        .where('state', '=', 'deleting')
        .execute()
    })
  }

  async function readSmall(blob: StoredBlob): Promise<Uint8Array | undefined> {
    const row = await database.read
      .selectFrom('small_content')
      .select('sealed')
      .where('blob_id', '=', blob.id)
      .executeTakeFirst()
    if (!row) return undefined
    const plain = smallColumn.open(blob.id, '', row.sealed)
    if (plain.byteLength !== blob.size) throw new CoreError('integrity', 'a size does not match')
    return plain
  }

  /** The parts in order, each held against its sealed column. */
  async function partsOf(blob: StoredBlob): Promise<PartOfEpoch[]> {
    const rows = await database.read
      .selectFrom('blob_part')
      .selectAll()
      .where('blob_id', '=', blob.id)
      .orderBy('number')
      .execute()
    const parts = rows.map((row, index) => checkedPart(row, index + 1))
    const total = parts.reduce((sum, part) => sum + part.plainSize, 0)
    if (parts.length === 0 || total !== blob.size) {
      throw new CoreError('integrity', 'the parts of a blob do not add up')
    }
    return parts
  }

  function checkedPart(row: Row<'blob_part'>, number: number): PartOfEpoch {
    const part = partColumn.open(`${row.blob_id}.${number}`, '', row.sealed)
    if (
      row.number !== number ||
      row.plain_size !== part.plainSize ||
      row.sealed_size !== part.sealedSize
    ) {
      throw new CoreError('integrity', 'the row of a part does not match what was sealed')
    }
    return { ...part, epoch: row.epoch }
  }

  /** An object that is gone while its row stands is damage; both go together when a blob is deleted. */
  async function openStored(name: string): Promise<ObjectReader> {
    try {
      return await store.open(name)
    } catch (error) {
      const isMissing = error instanceof CoreError && error.code === 'file_not_found'
      if (!isMissing || !(await isStored(blobIdOf(name)))) throw error
      throw new CoreError('integrity', `${name} is missing`, { cause: error })
    }
  }

  async function isStored(blobId: string): Promise<boolean> {
    const row = await database.read
      .selectFrom('blob')
      .select('id')
      .where('id', '=', blobId)
      .where('state', '=', 'stored')
      .executeTakeFirst()
    return row !== undefined
  }

  async function* readPart(
    name: string,
    part: PartOfEpoch,
    start: number,
    end: number,
  ): AsyncGenerator<Uint8Array> {
    const object = await openStored(name)
    try {
      const { payloadKey, size } = await openPart(object, part, keyring.epoch(part.epoch).identity)
      yield* openRange(object, part, payloadKey, size, start, end)
    } catch (error) {
      if (!(error instanceof SealError)) throw error
      throw new CoreError('integrity', `${name}: ${error.message}`, { cause: error })
    } finally {
      await object.close()
    }
  }

  return {
    async stage(source, limit) {
      const id = randomUUID()
      const pending: Uint8Array[] = []
      let size = 0
      let part: PartWriter | undefined
      try {
        for await (const bytes of source) {
          size += bytes.byteLength
          if (size > limit) throw new CoreError('file_too_large', `more than ${limit} bytes`)
          if (part) {
            await part.write(bytes)
            continue
          }
          pending.push(Uint8Array.from(bytes))
          if (size <= smallLimit) continue
          part = await createPart(store, keyring, partName(id, 1))
          for (const earlier of pending.splice(0)) await part.write(earlier)
        }
        if (!part) return { id, size, small: Buffer.concat(pending), parts: [] }
        return { id, size, small: undefined, parts: [await part.commit()] }
      } catch (error) {
        await part?.abort()
        throw error
      }
    },

    discard,

    async keep(staged, link) {
      try {
        return await database.write(async (writer) => {
          await insert(writer, staged)
          return link(writer)
        })
      } catch (error) {
        // When it is not known whether the commit reached the disk, the sweep decides.
        const unknown = error instanceof CoreError && error.code === 'storage_unavailable'
        if (!unknown) await discard(staged)
        throw error
      }
    },

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

    async unlinking(work) {
      const released: string[] = []
      const result = await database.write((writer) => {
        released.length = 0
        return work(writer, async (blobId) => {
          if (await release(writer, blobId)) released.push(blobId)
        })
      })
      await removeBytes(released)
      return result
    },

    async finishDeleting() {
      const rows = await database.read
        .selectFrom('blob')
        .select('id')
        .where('state', '=', 'deleting')
        .execute()
      for (const { id } of rows) await removeBytes([id])
      return rows.length
    },

    async *read(blob, start, end) {
      const small = await readSmall(blob)
      if (small) {
        yield small.subarray(start, end)
        return
      }
      let offset = 0
      for (const [index, part] of (await partsOf(blob)).entries()) {
        const from = Math.max(start - offset, 0)
        const to = Math.min(end - offset, part.plainSize)
        if (from < to) yield* readPart(partName(blob.id, index + 1), part, from, to)
        offset += part.plainSize
      }
    },
  }
}

interface PartWriter {
  write(bytes: Uint8Array): Promise<void>
  commit(): Promise<PartOfEpoch>
  abort(): Promise<void>
}

/** Seals what is written into a new object, to the current epoch. */
async function createPart(store: BlobStore, keyring: Keyring, name: string): Promise<PartWriter> {
  const { number: epoch, identity } = keyring.current
  const object = await store.create(name)
  const sealer = createSealer([identity.recipient])
  // Hashed before the store takes ownership of the bytes.
  const digest = createHash('sha256').update(sealer.header).digest('base64')
  let sealedBytesWritten = sealer.header.byteLength

  async function write(pieces: Uint8Array[]): Promise<void> {
    for (const piece of pieces) sealedBytesWritten += piece.byteLength
    await object.write(pieces)
  }
  await object.write([sealer.header])

  return {
    write: (bytes) => write(sealer.update(bytes)),
    async commit() {
      await write(sealer.end())
      await object.commit()
      return { epoch, digest, plainSize: sealer.plainBytes, sealedSize: sealedBytesWritten }
    },
    abort: () => object.abort(),
  }
}

/** Holds an object against its part's row and opens its header, before any content is read. */
async function openPart(
  object: ObjectReader,
  part: PartSeal,
  identity: Parameters<typeof openHeader>[1][number],
): Promise<ReturnType<typeof openHeader>> {
  if (object.size !== part.sealedSize) {
    throw new CoreError('integrity', 'a stored object does not have its size')
  }
  const prefix = await object.read(0, Math.min(HEADER_READ, object.size))
  const header = openHeader(prefix, [identity])
  const digest = createHash('sha256').update(prefix.subarray(0, header.size)).digest()
  if (!timingSafeEqual(digest, Buffer.from(part.digest, 'base64'))) {
    throw new CoreError('integrity', 'a stored object is not the one that was written')
  }
  return header
}

async function* openRange(
  object: ObjectReader,
  part: PartSeal,
  payloadKey: ReturnType<typeof openHeader>['payloadKey'],
  headerSize: number,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  const range = chunkRange(start, end, part.plainSize)
  const lastOfPart = Math.max(0, Math.ceil(part.plainSize / CHUNK_SIZE) - 1)
  for (let first = range.firstChunk; first <= range.lastChunk; first += CHUNKS_PER_READ) {
    const last = Math.min(first + CHUNKS_PER_READ - 1, range.lastChunk)
    const from = headerSize + first * SEALED_CHUNK_SIZE
    const to = Math.min(headerSize + (last + 1) * SEALED_CHUNK_SIZE, part.sealedSize)
    const sealed = await object.read(from, to - from)
    for (let chunk = first; chunk <= last; chunk += 1) {
      const at = (chunk - first) * SEALED_CHUNK_SIZE
      const plain = openChunk(
        payloadKey,
        chunk,
        chunk === lastOfPart,
        sealed.subarray(at, at + SEALED_CHUNK_SIZE),
      )
      const chunkStart = chunk * CHUNK_SIZE
      yield plain.subarray(Math.max(0, start - chunkStart), end - chunkStart)
    }
    free(sealed)
  }
}
