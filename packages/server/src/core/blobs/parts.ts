import { createHash, timingSafeEqual } from 'node:crypto'
import {
  CHUNK_SIZE,
  chunkRange,
  createSealer,
  type FileKeyOpener,
  openChunk,
  openHeader,
  type PayloadKey,
  SEALED_CHUNK_SIZE,
  SealError,
  sealedSize as sealedSizeOf,
} from '@holdfast/seal'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { free } from '../memory.ts'
import type { PartSeal } from '../schema.ts'
import type { BlobStore, ObjectReader } from './store.ts'

/** Sealed chunks that one read of the store fetches: a quarter of a MiB, twice of which is in memory. */
const CHUNKS_PER_READ = 4
/** Our own headers are below it, whatever a key is. */
const LARGEST_HEADER = 4096

/** A stored object of a blob, which is an age file, and what it must be. */
export interface StoredPart extends PartSeal {
  /** The store's name. */
  readonly object: string
  readonly epoch: number
}

/** Seals what is written into an object. */
export interface PartWriter {
  write(bytes: Uint8Array): Promise<void>
  /** Makes the part durable. */
  commit(): Promise<StoredPart>
  abort(): Promise<void>
}

/** Begins a new object, sealed to the current epoch. */
export async function createPart(
  store: BlobStore,
  keyring: Keyring,
  name: string,
): Promise<PartWriter> {
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
      return {
        object: name,
        epoch,
        digest,
        plainSize: sealer.plainBytes,
        sealedSize: sealedBytesWritten,
      }
    },
    abort: () => object.abort(),
  }
}

/** Seals what is written into as many objects as it takes. */
export interface PartsWriter {
  write(bytes: Uint8Array): Promise<void>
  /** Makes the parts durable; answers them in their order. */
  commit(): Promise<StoredPart[]>
  /** Forgets all of them. */
  abort(): Promise<void>
}

/** @param nameOf the name of a part by its number, from 1 */
export async function createParts(
  store: BlobStore,
  keyring: Keyring,
  nameOf: (number: number) => string,
): Promise<PartsWriter> {
  const largest = largestPart(store)
  const done: StoredPart[] = []
  let part = await createPart(store, keyring, nameOf(1))
  let room = largest

  return {
    async write(bytes) {
      for (let used = 0; used < bytes.byteLength; ) {
        if (room === 0) {
          done.push(await part.commit())
          part = await createPart(store, keyring, nameOf(done.length + 1))
          room = largest
        }
        const piece = bytes.subarray(used, used + room)
        await part.write(piece)
        used += piece.byteLength
        room -= piece.byteLength
      }
    },
    async commit() {
      done.push(await part.commit())
      return done
    },
    async abort() {
      await part.abort()
      await store.remove(done.map(({ object }) => object)).catch(() => undefined)
    },
  }
}

/** Bytes of content that one object takes, whatever header it has. */
export function largestPart({ largestObject }: BlobStore): number {
  if (largestObject === undefined) return Number.POSITIVE_INFINITY
  return Math.floor((largestObject - LARGEST_HEADER) / SEALED_CHUNK_SIZE) * CHUNK_SIZE
}

/**
 * The bytes of a part from `start` up to but not including `end`, each authenticated.
 *
 * @throws CoreError integrity, file_not_found
 */
export async function* readPart(
  store: BlobStore,
  keyring: Keyring,
  part: StoredPart,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  const { firstChunk, lastChunk, finalChunk } = chunkRange(start, end, part.plainSize)
  // Together with the header: one read less for each file.
  const firstRead = firstChunk === 0 ? readOf(part, 0, lastChunk).end : headerSizeOf(part)
  const { object, prefix, payloadKey } = await openObject(store, keyring, part, firstRead)
  try {
    const chunks = readChunks(object, part, prefix, firstChunk, lastChunk)
    yield* openChunks(chunks, payloadKey, finalChunk, start, end)
  } catch (error) {
    throw asIntegrity(part, error)
  } finally {
    await object.close()
  }
}

/**
 * Holds an object against its part's row, by size, header and payload nonce. Content is not read.
 *
 * @throws CoreError integrity, file_not_found
 */
export async function checkPart(
  store: BlobStore,
  keyring: Keyring,
  part: StoredPart,
): Promise<void> {
  const { object } = await openObject(store, keyring, part, headerSizeOf(part))
  await object.close()
}

/** @param firstRead how many bytes of the object are read to begin with, its header among them */
async function openObject(
  store: BlobStore,
  keyring: Keyring,
  part: StoredPart,
  firstRead: number,
): Promise<{ object: ObjectReader; prefix: Uint8Array; payloadKey: PayloadKey }> {
  const { identity } = keyring.epoch(part.epoch)
  const object = await store.open(part.object)
  try {
    if (object.size !== part.sealedSize) {
      throw new CoreError('integrity', `${part.object} does not have its size`)
    }
    const prefix = await object.read(0, firstRead)
    return { object, prefix, payloadKey: openPrefix(prefix, part, identity) }
  } catch (error) {
    await object.close()
    throw asIntegrity(part, error)
  }
}

function asIntegrity({ object }: StoredPart, error: unknown): unknown {
  if (!(error instanceof SealError)) return error
  return new CoreError('integrity', `${object}: ${error.message}`, { cause: error })
}

/** Holds the header against the part's row and opens it, before any content is opened. */
function openPrefix(prefix: Uint8Array, part: StoredPart, identity: FileKeyOpener): PayloadKey {
  const header = openHeader(prefix, [identity])
  const digest = createHash('sha256').update(prefix.subarray(0, header.size)).digest()
  if (!timingSafeEqual(digest, Buffer.from(part.digest, 'base64'))) {
    throw new CoreError('integrity', `${part.object} is not what was written`)
  }
  return header.payloadKey
}

/** What is left of an object without its payload: the header and the payload's nonce. */
function headerSizeOf({ sealedSize, plainSize }: PartSeal): number {
  return sealedSize - sealedSizeOf(plainSize, 0)
}

/** Where in the object the sealed chunks lie that are read together, from one of them on. */
function readOf(
  part: PartSeal,
  first: number,
  lastChunk: number,
): { readonly start: number; readonly end: number } {
  const payload = headerSizeOf(part)
  const chunks = Math.min(CHUNKS_PER_READ, lastChunk + 1 - first)
  return {
    start: payload + first * SEALED_CHUNK_SIZE,
    end: Math.min(payload + (first + chunks) * SEALED_CHUNK_SIZE, part.sealedSize),
  }
}

/** Sealed chunks that lie one after the other. */
interface SealedChunks {
  /** The number of the first. */
  readonly first: number
  readonly sealed: Uint8Array
  /** What `sealed` is in, for `free`. */
  readonly memory: Uint8Array
}

async function* openChunks(
  read: AsyncIterable<SealedChunks>,
  payloadKey: PayloadKey,
  finalChunk: number,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  for await (const { first, sealed, memory } of read) {
    // Handed on as one piece: a sixth less work for a large download than chunk by chunk.
    const chunks = Math.ceil(sealed.byteLength / SEALED_CHUNK_SIZE)
    const plain = Buffer.allocUnsafeSlow(
      sealed.byteLength - chunks * (SEALED_CHUNK_SIZE - CHUNK_SIZE),
    )
    for (let index = 0; index < chunks; index += 1) {
      const at = index * SEALED_CHUNK_SIZE
      const chunk = first + index
      const bytes = openChunk(
        payloadKey,
        chunk,
        chunk === finalChunk,
        sealed.subarray(at, at + SEALED_CHUNK_SIZE),
      )
      plain.set(bytes, index * CHUNK_SIZE)
      free(bytes)
    }
    free(memory)
    const from = first * CHUNK_SIZE
    yield plain.subarray(Math.max(0, start - from), end - from)
  }
}

/**
 * The sealed chunks of a range, some at a time: the next are on their way while some are opened.
 *
 * @param prefix the beginning of the object, which has been read
 */
async function* readChunks(
  object: ObjectReader,
  part: PartSeal,
  prefix: Uint8Array,
  firstChunk: number,
  lastChunk: number,
): AsyncGenerator<SealedChunks> {
  async function read(first: number): Promise<SealedChunks> {
    const { start, end } = readOf(part, first, lastChunk)
    if (end <= prefix.byteLength) {
      return { first, sealed: prefix.subarray(start, end), memory: prefix }
    }
    const sealed = await object.read(start, end - start)
    return { first, sealed, memory: sealed }
  }

  function begin(first: number): Promise<SealedChunks> | undefined {
    if (first > lastChunk) return undefined
    const chunks = read(first)
    // Whoever comes to it is told.
    chunks.catch(() => undefined)
    return chunks
  }

  let next = begin(firstChunk)
  try {
    for (let first = firstChunk; next; first += CHUNKS_PER_READ) {
      const chunks = await next
      next = begin(first + CHUNKS_PER_READ)
      yield chunks
    }
  } finally {
    // Nobody closes the object under a read.
    await next?.catch(() => undefined)
  }
}
