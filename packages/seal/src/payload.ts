/**
 * The payload's chunks: one by one, and where they lie.
 *
 * Source: https://c2sp.org/age, section "Payload" (STREAM). All sizes are in bytes. `headerBytes`
 * is the header text with the payload nonce behind it, as `headerSize` counts.
 */
import { aeadOpen, aeadSeal, TAG_SIZE } from './cipher.node.ts'
import type { PayloadKey } from './envelope.ts'
import { SealError } from './errors.ts'

/** Plaintext bytes of every chunk but the last, which may be shorter. */
export const CHUNK_SIZE = 65_536
/** Bytes of a sealed full chunk: ciphertext, then a 16-byte tag. */
export const SEALED_CHUNK_SIZE = CHUNK_SIZE + TAG_SIZE

/** Where the chunks lie that hold a range of the plaintext. */
export interface ChunkRange {
  /** Index of the first chunk to open. */
  readonly firstChunk: number
  /** Index of the last chunk to open; at least one is always opened. */
  readonly lastChunk: number
  /** Index of the chunk that ends the payload, the only one to open with `isLast`. */
  readonly finalChunk: number
  /** Where the sealed bytes of these chunks begin, counted from the first byte of the payload. */
  readonly sealedStart: number
  /** Where they end; exclusive. */
  readonly sealedEnd: number
  /** Plaintext bytes to drop from the first opened chunk. */
  readonly skip: number
  /** Plaintext bytes of the range. */
  readonly bytes: number
}

/**
 * Bytes of the whole file.
 *
 * @throws SealError `size_invalid`
 */
export function sealedSize(plainBytes: number, headerBytes: number): number {
  const size = headerBytes + plainBytes + TAG_SIZE * chunkCount(plainBytes)
  if (!isSize(plainBytes) || !isSize(size)) throw sizeInvalid()
  return size
}

/**
 * Bytes of the plaintext in a file of `sealedBytes`.
 *
 * @throws SealError `size_invalid` when no file has this size
 */
export function plainSize(sealedBytes: number, headerBytes: number): number {
  const payload = sealedBytes - headerBytes
  if (!isSize(payload) || payload < TAG_SIZE) throw sizeInvalid()
  const chunks = Math.ceil(payload / SEALED_CHUNK_SIZE)
  const plain = payload - chunks * TAG_SIZE
  // A last chunk without a single byte is allowed only where it is the only one.
  if (chunks !== chunkCount(plain) || plain < 0) throw sizeInvalid()
  return plain
}

/**
 * What to read and open for the plaintext from `start` to `end` (exclusive).
 *
 * An empty range still names one chunk, so that whoever reads it learns whether the file is sound. A
 * range counted from the end needs `plainBytes` from a source to be trusted, or `finalChunk` opened first.
 *
 * @throws SealError `range_invalid` unless 0 ≤ start ≤ end ≤ plainBytes
 */
export function chunkRange(start: number, end: number, plainBytes: number): ChunkRange {
  const sound = isSize(start) && isSize(end) && isSize(plainBytes)
  if (!sound || start > end || end > plainBytes) {
    throw new SealError('range_invalid', 'the range is not within the plaintext')
  }
  const finalChunk = chunkCount(plainBytes) - 1
  const firstChunk = Math.min(Math.floor(start / CHUNK_SIZE), finalChunk)
  const lastChunk = Math.max(firstChunk, Math.ceil(end / CHUNK_SIZE) - 1)
  return {
    firstChunk,
    lastChunk,
    finalChunk,
    sealedStart: firstChunk * SEALED_CHUNK_SIZE,
    sealedEnd:
      lastChunk === finalChunk ? sealedSize(plainBytes, 0) : (lastChunk + 1) * SEALED_CHUNK_SIZE,
    skip: start - firstChunk * CHUNK_SIZE,
    bytes: end - start,
  }
}

/** Chunks of a payload; an empty plaintext has one, too. */
export function chunkCount(plainBytes: number): number {
  return Math.max(1, Math.ceil(plainBytes / CHUNK_SIZE))
}

/**
 * Seals one chunk. Never seal two different plaintexts under the same key and index.
 *
 * @param index counted from 0
 * @param isLast whether it ends the payload; only such a chunk may be shorter than `CHUNK_SIZE`
 * @returns ciphertext and tag, each in a buffer of its own
 * @throws SealError `range_invalid`, `size_invalid`
 */
export function sealChunk(
  payloadKey: PayloadKey,
  index: number,
  isLast: boolean,
  plain: Uint8Array,
): Uint8Array<ArrayBuffer>[] {
  if (!isChunkSize(plain.length, index, isLast)) throw sizeInvalid()
  return aeadSeal(payloadKey, chunkNonce(index, isLast), plain)
}

/**
 * Opens one chunk.
 *
 * @param index counted from 0
 * @param isLast whether it has to be the one that ends the payload
 * @param sealed ciphertext and tag
 * @returns the plaintext in a buffer of its own
 * @throws SealError `chunk_authentication`, `range_invalid`
 */
export function openChunk(
  payloadKey: PayloadKey,
  index: number,
  isLast: boolean,
  sealed: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const plain = tryOpenChunk(payloadKey, index, isLast, sealed)
  if (!plain) throw chunkError(index)
  return plain
}

/** As {@link openChunk}, but `undefined` where that throws `chunk_authentication`. */
export function tryOpenChunk(
  payloadKey: PayloadKey,
  index: number,
  isLast: boolean,
  sealed: Uint8Array,
): Uint8Array<ArrayBuffer> | undefined {
  const nonce = chunkNonce(index, isLast)
  if (!isChunkSize(sealed.length - TAG_SIZE, index, isLast)) return undefined
  return aeadOpen(payloadKey, nonce, sealed)
}

/** The error for a chunk that is not the one sealed at `index`. */
export function chunkError(index: number): SealError {
  return new SealError('chunk_authentication', `chunk ${index} is not what was sealed`)
}

/** Whether a chunk at this place may hold so much plaintext. */
function isChunkSize(size: number, index: number, isLast: boolean): boolean {
  if (!isLast) return size === CHUNK_SIZE
  return size <= CHUNK_SIZE && size >= (index === 0 ? 0 : 1)
}

// One array for all: the cipher copies it before it returns, and nothing here is asynchronous.
const nonce = new Uint8Array(12)
const nonceView = new DataView(nonce.buffer)
const MAX_INDEX = 2 ** 48

/** An 11-byte big-endian counter, then the flag of the last chunk. Valid until the next call. */
function chunkNonce(index: number, isLast: boolean): Uint8Array {
  if (!isSize(index) || index >= MAX_INDEX) {
    throw new SealError('range_invalid', 'no chunk has this index')
  }
  nonceView.setUint16(5, Math.floor(index / 2 ** 32))
  nonceView.setUint32(7, index >>> 0)
  nonce[11] = isLast ? 1 : 0
  return nonce
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

function sizeInvalid(): SealError {
  return new SealError('size_invalid', 'nothing sealed can have this size')
}
