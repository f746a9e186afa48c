import { createHash, timingSafeEqual } from 'node:crypto'
import {
  CHUNK_SIZE,
  chunkRange,
  createSealer,
  openChunk,
  openHeader,
  SEALED_CHUNK_SIZE,
  SealError,
} from '@holdfast/seal'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { free } from '../memory.ts'
import type { PartSeal } from '../schema.ts'
import type { BlobStore, ObjectReader } from './store.ts'

/** Sealed chunks that one read of the store fetches: a quarter of a MiB, twice of which is in memory. */
const CHUNKS_PER_READ = 4
/** Our own headers are below 2 KiB; a stored object is asked for no more than this to find its payload. */
const HEADER_READ = 4096

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
  return Math.floor((largestObject - HEADER_READ) / SEALED_CHUNK_SIZE) * CHUNK_SIZE
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
  const { payloadKey, size, object } = await openObject(store, keyring, part)
  try {
    yield* openRange(object, part, payloadKey, size, start, end)
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
  const { object } = await openObject(store, keyring, part)
  await object.close()
}

async function openObject(store: BlobStore, keyring: Keyring, part: StoredPart) {
  const { identity } = keyring.epoch(part.epoch)
  const object = await store.open(part.object)
  try {
    return { object, ...(await openPart(object, part, identity)) }
  } catch (error) {
    await object.close()
    throw asIntegrity(part, error)
  }
}

function asIntegrity({ object }: StoredPart, error: unknown): unknown {
  if (!(error instanceof SealError)) return error
  return new CoreError('integrity', `${object}: ${error.message}`, { cause: error })
}

/** Holds an object against its part's row and opens its header, before any content is read. */
async function openPart(
  object: ObjectReader,
  part: StoredPart,
  identity: Parameters<typeof openHeader>[1][number],
): Promise<ReturnType<typeof openHeader>> {
  if (object.size !== part.sealedSize) {
    throw new CoreError('integrity', `${part.object} does not have its size`)
  }
  const prefix = await object.read(0, Math.min(HEADER_READ, object.size))
  const header = openHeader(prefix, [identity])
  const digest = createHash('sha256').update(prefix.subarray(0, header.size)).digest()
  if (!timingSafeEqual(digest, Buffer.from(part.digest, 'base64'))) {
    throw new CoreError('integrity', `${part.object} is not what was written`)
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
  for await (const { first, sealed } of readChunks(object, part, headerSize, range)) {
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
        chunk === lastOfPart,
        sealed.subarray(at, at + SEALED_CHUNK_SIZE),
      )
      plain.set(bytes, index * CHUNK_SIZE)
      free(bytes)
    }
    free(sealed)
    const from = first * CHUNK_SIZE
    yield plain.subarray(Math.max(0, start - from), end - from)
  }
}

/** The sealed chunks of a range, some at a time: the next are on their way while some are opened. */
async function* readChunks(
  object: ObjectReader,
  { sealedSize }: PartSeal,
  headerSize: number,
  { firstChunk, lastChunk }: { firstChunk: number; lastChunk: number },
): AsyncGenerator<{ first: number; sealed: Uint8Array }> {
  function read(first: number): Promise<Uint8Array> | undefined {
    if (first > lastChunk) return undefined
    const last = Math.min(first + CHUNKS_PER_READ - 1, lastChunk)
    const from = headerSize + first * SEALED_CHUNK_SIZE
    const bytes = object.read(
      from,
      Math.min(headerSize + (last + 1) * SEALED_CHUNK_SIZE, sealedSize) - from,
    )
    // Whoever comes to it is told.
    bytes.catch(() => undefined)
    return bytes
  }

  let next = read(firstChunk)
  try {
    for (let first = firstChunk; next; first += CHUNKS_PER_READ) {
      const sealed = await next
      next = read(first + CHUNKS_PER_READ)
      yield { first, sealed }
    }
  } finally {
    // Nobody closes the object under a read.
    await next?.catch(() => undefined)
  }
}
