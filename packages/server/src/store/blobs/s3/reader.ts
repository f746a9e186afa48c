import type { Readable } from 'node:stream'
import type { ObjectReader } from '../../../core/blobs/store.ts'
import { CoreError } from '../../../core/errors.ts'
import { free } from '../../../core/memory.ts'
import { backOff, type Retries } from './attempts.ts'
import { failureOf, hasCode, hasStatus, S3Failure, translating } from './failure.ts'
import type { S3Requests } from './requests.ts'

/** What is asked for to find out about an object. Small ones need no other request. */
const FIRST_BYTES = 128 * 1024
/** Who reads on is given ever longer stretches, so that few requests serve a whole file. */
const GROWTH = 4
const LONGEST_STRETCH = 64 * 1024 * 1024

/** Bytes of an object on their way: they come as fast as they are taken. */
interface Stretch {
  /** Where the next byte to be taken lies. */
  readonly at: number
  /** Where the stretch ends; exclusive. */
  readonly end: number
  /** Copies what has come; answers how many bytes, at least one. @throws S3Failure when it broke */
  take(target: Uint8Array): Promise<number>
  close(): void
}

/**
 * Reads one object. A connection that breaks is opened again where it broke.
 *
 * @param stall milliseconds to wait for the next bytes
 * @throws CoreError file_not_found
 */
export async function openReader(
  requests: S3Requests,
  retries: Retries,
  stall: number,
  key: string,
): Promise<ObjectReader> {
  const { first, size } = await readFirst()
  let current: Stretch | undefined
  let ahead: { start: number; stretch: Promise<Stretch> } | undefined
  /** Bytes of the stretch that was asked for last. */
  let span = 0

  async function begin(start: number, end: number): Promise<{ stretch: Stretch; total: number }> {
    const answer = await requests.get(key, start, end).catch((error: unknown) => {
      throw missing(error, key)
    })
    if (answer.start !== start) {
      answer.body.destroy()
      throw new CoreError(
        'integrity',
        `${key} was answered from byte ${answer.start}, not ${start}`,
      )
    }
    const { body, total } = answer
    return { stretch: createStretch(body, start, Math.min(end, total), stall), total }
  }

  async function readFirst(): Promise<{ first: Buffer; size: number }> {
    for (let failures = 0; ; ) {
      const begun = await begin(0, FIRST_BYTES).catch((error: unknown) => {
        // There is no first byte of an empty object.
        if (hasStatus(error, 416)) return undefined
        throw error
      })
      if (!begun) return { first: Buffer.alloc(0), size: 0 }
      const { stretch, total } = begun
      try {
        const bytes = Buffer.allocUnsafeSlow(stretch.end)
        while (stretch.at < stretch.end) await stretch.take(bytes.subarray(stretch.at))
        return { first: bytes, size: total }
      } catch (error) {
        failures += 1
        await backOffAfter(error, failures)
      } finally {
        stretch.close()
      }
    }
  }

  /** Fills `target` with the bytes from `offset`. Only failures in a row count. */
  async function fill(target: Uint8Array, offset: number): Promise<void> {
    let failures = 0
    for (let filled = 0; filled < target.byteLength; ) {
      const stretch = await stretchAt(offset + filled, target.byteLength - filled)
      try {
        filled += await stretch.take(target.subarray(filled))
        failures = 0
      } catch (error) {
        drop()
        failures += 1
        await backOffAfter(error, failures)
      }
    }
  }

  async function backOffAfter(error: unknown, failures: number): Promise<void> {
    if (failures >= retries.attempts) throw failureOf(error)
    await backOff(retries, failures)
  }

  /** @returns a stretch whose next byte is the one at `offset` */
  async function stretchAt(offset: number, length: number): Promise<Stretch> {
    if (current?.at === offset && offset < current.end) return current
    const isNext = current?.at === offset
    current?.close()
    current = undefined
    if (isNext && ahead?.start === offset) {
      const { stretch } = ahead
      ahead = undefined
      current = await stretch
    } else {
      drop()
      if (!isNext) span = 0
      current = await ask(offset, length)
    }
    return current
  }

  /** Asks for a longer stretch than the last one was, of at least `length`. */
  async function ask(offset: number, length: number): Promise<Stretch> {
    span = Math.max(Math.min(span * GROWTH, LONGEST_STRETCH), length)
    const { stretch, total } = await begin(offset, Math.min(offset + span, size))
    if (total === size) return stretch
    stretch.close()
    throw new CoreError('integrity', `${key} changed while it was read`)
  }

  /** Asks for the next stretch when the end of this one is near. */
  function lookAhead(): void {
    if (!current || ahead || current.end === size) return
    if (current.end - current.at > span / 2) return
    const stretch = ask(current.end, 0)
    // Whoever reads on is told.
    stretch.catch(() => undefined)
    ahead = { start: current.end, stretch }
  }

  function drop(): void {
    current?.close()
    current = undefined
    ahead?.stretch.then((stretch) => stretch.close()).catch(() => undefined)
    ahead = undefined
  }

  return {
    size,
    read: (offset, length) =>
      translating(async () => {
        if (offset + length > size) throw new CoreError('integrity', 'a stored object is too short')
        const bytes = Buffer.allocUnsafeSlow(length)
        const known = first.subarray(offset, offset + length)
        bytes.set(known)
        if (known.byteLength === length) return bytes
        await fill(bytes.subarray(known.byteLength), offset + known.byteLength)
        lookAhead()
        return bytes
      }),
    async close() {
      drop()
    },
  }
}

function createStretch(body: Readable, start: number, end: number, stall: number): Stretch {
  const pieces: AsyncIterator<Buffer> = body[Symbol.asyncIterator]()
  let piece: Uint8Array = Buffer.alloc(0)
  let used = 0
  let at = start

  async function more(): Promise<Uint8Array> {
    const { promise: silence, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      reject(new S3Failure('TimeoutError', `nothing came for ${stall} ms`, undefined))
    }, stall)
    try {
      const { done, value } = await Promise.race([pieces.next(), silence])
      if (!done) return value
      throw new S3Failure('Truncated', 'a body ended early', undefined)
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    get at() {
      return at
    },
    end,
    async take(target) {
      while (used === piece.byteLength) {
        free(piece)
        piece = await more()
        used = 0
      }
      const taken = piece.subarray(used, used + Math.min(target.byteLength, end - at))
      target.set(taken)
      used += taken.byteLength
      at += taken.byteLength
      return taken.byteLength
    },
    close() {
      // A body that was read to its end gives its connection back.
      if (at < end) body.destroy()
      else pieces.next().catch(() => undefined)
    },
  }
}

function missing(error: unknown, key: string): unknown {
  if (!hasStatus(error, 404) || hasCode(error, 'NoSuchBucket')) return error
  return new CoreError('file_not_found', `no object ${key}`)
}
