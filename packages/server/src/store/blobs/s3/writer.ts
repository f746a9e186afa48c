import { createHash } from 'node:crypto'
import type { ObjectWriter } from '../../../core/blobs/store.ts'
import { CoreError } from '../../../core/errors.ts'
import { free } from '../../../core/memory.ts'
import type { PartBuffers } from './buffers.ts'
import { hasStatus, isTransient, S3Failure, translating } from './failure.ts'
import type { S3Requests, UploadedPart } from './requests.ts'

/**
 * Bytes of every part but the last: the least that S3 takes, so that an upload needs little memory.
 * All parts are of one size, since some stores want that.
 */
export const PART_SIZE = 5 * 1024 * 1024
/** Some stores take no more, and an object of so many is still one that can be copied by one request. */
const MOST_PARTS = 1000
export const LARGEST_OBJECT = MOST_PARTS * PART_SIZE
const PARTS_IN_FLIGHT = 2

/** Uploads of this process that go on, so that it does not clear them away. */
export type OwnUploads = Set<string>

/**
 * Writes one object: with a single request when it is no larger than a part, else part by part. The
 * object is there when its upload was completed, and then it was found to be what was sent.
 */
export function createWriter(
  requests: S3Requests,
  buffers: PartBuffers,
  own: OwnUploads,
  key: string,
): ObjectWriter {
  const parts: UploadedPart[] = []
  const inFlight = new Set<Promise<void>>()
  let filling: Buffer | undefined
  let filled = 0
  let sent = 0
  let upload: string | undefined
  let failure: unknown
  /** Whether an object may be there although nobody was told so. */
  let isDoubtful = false

  async function nextBuffer(): Promise<Buffer> {
    for (;;) {
      if (failure) throw failure
      if (inFlight.size === 0) return buffers.take()
      const spare = inFlight.size < PARTS_IN_FLIGHT ? buffers.takeSpare() : undefined
      if (spare) return spare
      await Promise.race(inFlight)
    }
  }

  function releaseFilling(): void {
    if (filling) buffers.giveBack(filling)
    filling = undefined
    filled = 0
  }

  /** Sends what is filled as the next part. */
  async function flush(): Promise<void> {
    if (upload === undefined) {
      upload = await requests.createUpload(key)
      own.add(upload)
    }
    const uploadId = upload
    const buffer = filling as Buffer
    const bytes = buffer.subarray(0, filled)
    const number = Math.ceil(sent / PART_SIZE) + 1
    if (number > MOST_PARTS) throw new CoreError('file_too_large', 'the object is full')
    sent += filled
    filling = undefined
    filled = 0
    const sending = requests
      .uploadPart(key, uploadId, number, bytes)
      .then((part) => {
        parts.push(part)
      })
      .catch((error: unknown) => {
        failure ??= error
      })
      .finally(() => {
        inFlight.delete(sending)
        buffers.giveBack(buffer)
      })
    inFlight.add(sending)
  }

  async function append(piece: Uint8Array): Promise<void> {
    let used = 0
    while (used < piece.byteLength) {
      // Not before there is more: what fits into one part is one request.
      if (filled === PART_SIZE) await flush()
      filling ??= await nextBuffer()
      const taken = piece.subarray(used, used + PART_SIZE - filled)
      filling.set(taken, filled)
      filled += taken.byteLength
      used += taken.byteLength
    }
    free(piece)
  }

  async function putWhole(): Promise<void> {
    const bytes = filling?.subarray(0, filled) ?? Buffer.alloc(0)
    const md5 = createHash('md5').update(bytes).digest('hex')
    await storing(requests.put(key, bytes, true), bytes.byteLength, md5)
  }

  async function completeUpload(uploadId: string): Promise<void> {
    if (filled > 0) await flush()
    await Promise.all(inFlight)
    if (failure) throw failure
    parts.sort((one, other) => one.number - other.number)
    const md5 = createHash('md5').update(Buffer.concat(parts.map((part) => part.md5)))
    const etag = `${md5.digest('hex')}-${parts.length}`
    await storing(requests.complete(key, uploadId, parts), sent, etag)
  }

  /**
   * Waits for the request that makes the object, and looks at what is there. The answer to an attempt
   * may have been lost: then the next one was told that there is an object, or that there is no upload.
   */
  async function storing(request: Promise<void>, size: number, etag: string): Promise<void> {
    isDoubtful = true
    const failed = await request.then(
      () => undefined,
      (error: unknown) => error,
    )
    if (failed && !isTransient(failed) && !hasStatus(failed, 404, 412)) throw failed
    const found = await requests.head(key)
    if (!found) throw failed ?? new S3Failure('Lost', `${key} is not there`, undefined)
    const { size: foundSize, etag: foundEtag = etag } = found
    if (foundSize === size && foundEtag === etag) return
    // Not to be removed: it is somebody else's.
    isDoubtful = !hasStatus(failed, 412)
    throw new S3Failure('OtherObject', `${key} is not what was sent`, undefined)
  }

  function end(): void {
    releaseFilling()
    if (upload !== undefined) own.delete(upload)
  }

  return {
    write: (pieces) =>
      translating(async () => {
        for (const piece of pieces) await append(piece)
        if (failure) throw failure
      }),

    commit: () =>
      translating(async () => {
        if (upload === undefined) await putWhole()
        else await completeUpload(upload)
        end()
      }),

    async abort() {
      await Promise.all(inFlight)
      end()
      // What cannot be removed now is cleared away later: nobody waits for it.
      if (upload !== undefined) await requests.abort(key, upload).catch(() => undefined)
      if (isDoubtful) await requests.remove(key).catch(() => undefined)
    },
  }
}
