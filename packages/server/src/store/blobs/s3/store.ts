import { randomUUID } from 'node:crypto'
import { basename } from 'node:path/posix'
import { type BlobStore, QUARANTINE_FOLDER, TRASH_FOLDER } from '../../../core/blobs/store.ts'
import { CoreError } from '../../../core/errors.ts'
import { createAttempts, type Observe, type Retries } from './attempts.ts'
import { createPartBuffers } from './buffers.ts'
import { S3Failure, translated, translating } from './failure.ts'
import { BucketError, placeName, type S3Place } from './place.ts'
import { openReader } from './reader.ts'
import { createRequests, type Timeouts } from './requests.ts'
import { createWriter, LARGEST_OBJECT, type OwnUploads, PART_SIZE } from './writer.ts'

const HOUR_MS = 3600 * 1000

/** What can be set for tests. Times in milliseconds, sizes in bytes. */
export interface S3Options {
  readonly observe?: Observe
  readonly retries?: Retries
  readonly timeouts?: Timeouts
  readonly largestObject?: number
  /** What has not changed for so long belongs to nobody who still writes. */
  readonly writerGrace?: number
}

const RETRIES: Retries = { attempts: 6, firstWait: 200, longestWait: 5000, within: 60_000 }
const TIMEOUTS: Timeouts = { connect: 5000, request: 60_000, work: 600_000, check: 3000 }
const REQUESTS_AT_ONCE = 64
const REMOVALS_AT_ONCE = 8
/** 320 MiB at the worst: 64 clients that send slowly. Fast ones need a few buffers together. */
const BUFFERS = { size: PART_SIZE, most: 64, scarceFrom: 12, kept: 6, longestWait: 60_000 }
/** How long an answer about the bucket's health stands. */
const CHECK_STANDS_MS = 1000

/**
 * Objects in a bucket. What names mean is as on a disk: `blobs/`, `keyring/`, `trash/`.
 *
 * @throws BucketError when the bucket does not answer as it should
 */
export async function openS3Store(place: S3Place, options: S3Options = {}): Promise<BlobStore> {
  const { observe = () => undefined, retries = RETRIES, timeouts = TIMEOUTS } = options
  const { largestObject = LARGEST_OBJECT, writerGrace = 24 * HOUR_MS } = options
  const attempts = createAttempts(observe, retries, REQUESTS_AT_ONCE)
  const requests = createRequests(place, timeouts, attempts)
  const buffers = createPartBuffers(BUFFERS)
  const own: OwnUploads = new Set()
  const keyOf = (name: string) => place.prefix + name
  const trash = keyOf(TRASH_FOLDER)

  await requests.check(place.prefix).catch((error: unknown) => {
    requests.close()
    throw unusable(place, error)
  })

  async function isAbandoned(key: string, upload: string, begunAt: number): Promise<boolean> {
    const before = Date.now() - writerGrace
    if (own.has(upload) || begunAt >= before) return false
    return ((await requests.lastPartAt(key, upload)) ?? 0) < before
  }

  /** @returns whether there was something to move */
  async function move(from: string, to: string): Promise<boolean> {
    const found = await requests.head(from)
    if (!found) return false
    await requests.copy(from, to)
    const copied = await requests.head(to)
    if (copied?.size !== found.size) {
      throw new S3Failure('OtherObject', `${to} is no copy of ${from}`, undefined)
    }
    await requests.remove(from)
    return true
  }

  async function setAside(name: string, folder: string): Promise<void> {
    await move(keyOf(name), keyOf(`${folder}${basename(name)}.${randomUUID()}`))
  }

  let checked: Promise<void> | undefined

  return {
    largestObject,
    writerGrace,

    create: async (name) => createWriter(requests, buffers, own, keyOf(name)),

    replace: (name, bytes) =>
      translating(() => requests.put(keyOf(name), Buffer.from(bytes), false)),

    open: (name) => translating(() => openReader(requests, retries, timeouts.request, keyOf(name))),

    remove: (names) =>
      translating(() =>
        // One by one: requests for many at once are not the same everywhere.
        forEach(names, REMOVALS_AT_ONCE, (name) => requests.remove(keyOf(name))),
      ),

    async *list(prefix) {
      try {
        for await (const { key, size, modifiedAt } of requests.list(keyOf(prefix))) {
          yield { name: key.slice(place.prefix.length), size, changedAt: endOfSecond(modifiedAt) }
        }
      } catch (error) {
        throw translated(error)
      }
    },

    moveToTrash: (name) => translating(() => setAside(name, TRASH_FOLDER)),
    quarantine: (name) => translating(() => setAside(name, QUARANTINE_FOLDER)),

    restore: (from, name) =>
      translating(async () => {
        // Names of objects are random: nobody else makes one of this name meanwhile.
        if (await requests.head(keyOf(name))) return false
        return move(keyOf(from), keyOf(name))
      }),

    emptyTrash: (before) =>
      translating(async () => {
        let removed = 0
        for await (const { key, modifiedAt } of requests.list(trash)) {
          // A copy is as old as the move.
          if (endOfSecond(modifiedAt) >= before) continue
          await requests.remove(key)
          removed += 1
        }
        return removed
      }),

    async *unfinished() {
      try {
        for await (const { key, initiatedAt } of requests.uploads(place.prefix)) {
          yield { name: key.slice(place.prefix.length), size: 0, changedAt: initiatedAt }
        }
      } catch (error) {
        throw translated(error)
      }
    },

    clearUnfinished: (before = Number.POSITIVE_INFINITY) =>
      translating(async () => {
        let removed = 0
        for await (const { key, upload, initiatedAt } of requests.uploads(place.prefix)) {
          if (initiatedAt >= before || !(await isAbandoned(key, upload, initiatedAt))) continue
          await requests.abort(key, upload)
          removed += 1
        }
        return removed
      }),

    check() {
      checked ??= translating(() => requests.check(place.prefix)).finally(() => {
        setTimeout(() => {
          checked = undefined
        }, CHECK_STANDS_MS).unref()
      })
      return checked
    },

    async close() {
      requests.close()
    },
  }
}

/** The store counts whole seconds: it changed no later than this. */
function endOfSecond(milliseconds: number): number {
  return milliseconds + 999
}

async function forEach<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values()
  async function worker(): Promise<void> {
    for (const item of rest) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
}

const ADVICE: Record<string, string> = {
  NoSuchBucket: 'there is no such bucket',
  InvalidAccessKeyId: 'AWS_ACCESS_KEY_ID is not known there',
  SignatureDoesNotMatch: 'AWS_SECRET_ACCESS_KEY is not the one of this access key',
  AccessDenied: 'these credentials may not list the bucket',
  PermanentRedirect: 'the bucket is in another region or at another endpoint',
  AuthorizationHeaderMalformed: 'the bucket is in another region',
  CredentialsProviderError:
    'no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE',
}

function unusable(place: S3Place, error: unknown): unknown {
  if (error instanceof CoreError || !(error instanceof S3Failure)) return error
  const advice = ADVICE[error.code] ?? error.message
  return new BucketError(`${placeName(place)} cannot be used: ${advice}`, { cause: error })
}
