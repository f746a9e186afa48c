/**
 * Whole payloads, pushed through in pieces of any size.
 *
 * Source: https://c2sp.org/age, section "Payload" (STREAM).
 */
import { concat } from './bytes.ts'
import { TAG_SIZE } from './cipher.node.ts'
import { type Header, openHeader, type PayloadKey, sealHeader } from './envelope.ts'
import { SealError } from './errors.ts'
import {
  CHUNK_SIZE,
  chunkCount,
  chunkError,
  SEALED_CHUNK_SIZE,
  sealChunk,
  sealedSize,
  tryOpenChunk,
} from './payload.ts'
import type { FileKeyOpener, Recipient } from './recipient.ts'

type Bytes = Uint8Array<ArrayBuffer>

/** Seals a stream. Synchronous; any error leaves it closed. */
export interface Sealer {
  /** Header text and payload nonce: to be written before anything else. */
  readonly header: Uint8Array
  /** Plaintext bytes taken so far. */
  readonly plainBytes: number
  /**
   * Takes the next bytes. They are not looked at after the return.
   *
   * @returns sealed bytes, in order; each piece in a buffer of its own, to be freed when written
   * @throws SealError `closed`
   */
  update(bytes: Uint8Array): Bytes[]
  /**
   * Seals what is left, at least the last chunk.
   *
   * @throws SealError `closed`
   */
  end(): Bytes[]
}

/** Opens a stream. Synchronous; never returns a byte that is not authentic. */
export interface Opener {
  /**
   * Takes the next bytes of the payload. They are not looked at after the return.
   *
   * What precedes a broken chunk is returned, and the error thrown by the next call. So the bytes
   * returned do not depend on how the payload was cut into pieces; and only `end` tells that all is well.
   *
   * @returns plaintext, in order; each piece in a buffer of its own, to be freed when written
   * @throws SealError `chunk_authentication`, `trailing_data`, `closed`
   */
  update(bytes: Uint8Array): Bytes[]
  /**
   * Opens what is left, and proves that the payload is complete.
   *
   * @throws SealError `chunk_authentication`, `truncated`, `trailing_data`, `closed`
   */
  end(): Bytes[]
}

/** Collects the remnants of pieces until there is a whole chunk. */
class Pending {
  readonly #size: number
  /** Made when first needed: who hands over whole chunks never needs it. */
  #buffer: Uint8Array | undefined
  length = 0

  constructor(size: number) {
    this.#size = size
  }

  get room(): number {
    return this.#size - this.length
  }

  add(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#buffer ??= new Uint8Array(this.#size)
    this.#buffer.set(bytes, this.length)
    this.length += bytes.length
  }

  /** What was collected, valid until the next `add`. */
  take(): Uint8Array {
    const taken = this.#buffer?.subarray(0, this.length) ?? new Uint8Array(0)
    this.length = 0
    return taken
  }

  wipe(): void {
    this.#buffer?.fill(0)
  }
}

/**
 * Seals a stream of unknown length for `recipients`.
 *
 * A chunk leaves as soon as it is known not to be the last, which takes one byte more: so up to
 * 64 KiB are held back.
 *
 * @throws SealError `no_recipients`
 */
export function createSealer(recipients: readonly Recipient[]): Sealer {
  return new PayloadSealer(sealHeader(recipients))
}

class PayloadSealer implements Sealer {
  readonly header: Uint8Array
  readonly #payloadKey: PayloadKey
  readonly #pending = new Pending(CHUNK_SIZE)
  #index = 0
  #plainBytes = 0
  #closed: boolean = false

  constructor(header: Header) {
    this.header = header.bytes
    this.#payloadKey = header.payloadKey
  }

  get plainBytes(): number {
    return this.#plainBytes
  }

  update(bytes: Uint8Array): Bytes[] {
    if (this.#closed) throw closed()
    const sealed: Bytes[] = []
    const pending = this.#pending
    let at = 0
    while (bytes.length - at > pending.room) {
      if (pending.length === 0) {
        this.#seal(bytes.subarray(at, at + CHUNK_SIZE), false, sealed)
        at += CHUNK_SIZE
      } else {
        const rest = pending.room
        pending.add(bytes.subarray(at, at + rest))
        this.#seal(pending.take(), false, sealed)
        at += rest
      }
    }
    pending.add(bytes.subarray(at))
    this.#plainBytes += bytes.length
    return sealed
  }

  end(): Bytes[] {
    if (this.#closed) throw closed()
    this.#closed = true
    const sealed: Bytes[] = []
    this.#seal(this.#pending.take(), true, sealed)
    this.#pending.wipe()
    return sealed
  }

  #seal(plain: Uint8Array, isLast: boolean, into: Bytes[]): void {
    into.push(...sealChunk(this.#payloadKey, this.#index++, isLast, plain))
  }
}

/**
 * Opens the payload behind a header.
 *
 * @param plainBytes size of the plaintext where it is known from a source to be trusted. Then a file
 *   of another size fails, at the latest at `end`. Without it each full chunk is tried as one that is
 *   not the last, then as the last.
 * @throws SealError `size_invalid`
 */
export function createOpener(payloadKey: PayloadKey, plainBytes?: number): Opener {
  return new PayloadOpener(payloadKey, plainBytes)
}

class PayloadOpener implements Opener {
  readonly #payloadKey: PayloadKey
  readonly #pending = new Pending(SEALED_CHUNK_SIZE)
  /** Index of the last chunk and its sealed size, if known before. */
  readonly #last: { index: number; size: number } | undefined
  #index = 0
  /** Whether the last chunk has been opened. */
  #complete: boolean = false
  #failure: SealError | undefined

  constructor(payloadKey: PayloadKey, plainBytes?: number) {
    this.#payloadKey = payloadKey
    if (plainBytes === undefined) return
    const index = chunkCount(plainBytes) - 1
    this.#last = { index, size: sealedSize(plainBytes, 0) - index * SEALED_CHUNK_SIZE }
  }

  update(bytes: Uint8Array): Bytes[] {
    if (this.#failure) throw this.#failure
    const opened: Bytes[] = []
    try {
      this.#push(bytes, opened)
    } catch (error) {
      this.#failure = error as SealError
      if (opened.length === 0) throw error
    }
    return opened
  }

  end(): Bytes[] {
    if (this.#failure) throw this.#failure
    this.#failure = closed()
    if (this.#complete) return []
    if (this.#last || this.#pending.length < TAG_SIZE) throw truncated()
    const opened: Bytes[] = []
    const sealed = this.#pending.take()
    this.#release(tryOpenChunk(this.#payloadKey, this.#index, true, sealed), opened)
    return opened
  }

  #push(bytes: Uint8Array, opened: Bytes[]): void {
    const pending = this.#pending
    let at = 0
    while (at < bytes.length) {
      if (this.#complete) throw new SealError('trailing_data', 'bytes behind the last chunk')
      const size = this.#index === this.#last?.index ? this.#last.size : SEALED_CHUNK_SIZE
      const part = bytes.subarray(at, at + size - pending.length)
      at += part.length
      if (part.length === size) {
        this.#open(part, opened)
      } else {
        pending.add(part)
        if (pending.length === size) this.#open(pending.take(), opened)
      }
    }
  }

  #open(sealed: Uint8Array, opened: Bytes[]): void {
    const key = this.#payloadKey
    if (this.#last) {
      this.#complete = this.#index === this.#last.index
      this.#release(tryOpenChunk(key, this.#index, this.#complete, sealed), opened)
      return
    }
    let plain = tryOpenChunk(key, this.#index, false, sealed)
    if (!plain) {
      plain = tryOpenChunk(key, this.#index, true, sealed)
      this.#complete = true
    }
    this.#release(plain, opened)
  }

  #release(plain: Bytes | undefined, opened: Bytes[]): void {
    if (!plain) throw chunkError(this.#index)
    this.#index++
    if (plain.length > 0) opened.push(plain)
  }
}

/**
 * Seals something small: the whole file in one piece.
 *
 * @throws SealError `no_recipients`
 */
export function seal(recipients: readonly Recipient[], plain: Uint8Array): Bytes {
  const { bytes, payloadKey } = sealHeader(recipients)
  const parts: Uint8Array[] = [bytes]
  const last = chunkCount(plain.length) - 1
  for (let index = 0; index <= last; index++) {
    const chunk = plain.subarray(index * CHUNK_SIZE, (index + 1) * CHUNK_SIZE)
    parts.push(...sealChunk(payloadKey, index, index === last, chunk))
  }
  return concat(...parts)
}

/**
 * Opens something small: the whole file in one piece.
 *
 * @throws SealError of any code but those of sealing; nothing is returned unless all is authentic
 */
export function open(identities: readonly FileKeyOpener[], sealed: Uint8Array): Bytes {
  const { size, payloadKey } = openHeader(sealed, identities)
  const opener = createOpener(payloadKey)
  return concat(...opener.update(sealed.subarray(size)), ...opener.end())
}

function closed(): SealError {
  return new SealError('closed', 'nothing can follow the end')
}

function truncated(): SealError {
  return new SealError('truncated', 'the payload ends before its last chunk does')
}
