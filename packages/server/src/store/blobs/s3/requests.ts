import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { fromIni } from '@aws-sdk/credential-provider-ini'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { type Attempts, incomplete } from './attempts.ts'
import { hasCode, hasStatus } from './failure.ts'
import type { S3Place } from './place.ts'

/** Milliseconds. */
export interface Timeouts {
  readonly connect: number
  /** Until the head of the answer is there, and between two pieces of a body. */
  readonly request: number
  /** For what a store may work on for long: completing an upload, copying an object. */
  readonly work: number
  /** Of a question about how the store is. */
  readonly check: number
}

/** A download may hold its connection for as long as its client reads. */
const MOST_CONNECTIONS = 1024

export interface UploadedPart {
  readonly number: number
  readonly md5: Buffer
  readonly etag: string
}

export interface StoredObject {
  /** Bytes. */
  readonly size: number
  /** Of one PUT the MD5 of the bytes; undefined where the store's encryption makes it another thing. */
  readonly etag: string | undefined
}

export interface Listed {
  readonly key: string
  readonly size: number
  /** Milliseconds since the epoch, of the store's clock, which counts whole seconds. */
  readonly modifiedAt: number
}

export interface Unfinished {
  readonly key: string
  readonly upload: string
  readonly initiatedAt: number
}

/** A stretch of an object's bytes, as it comes. */
export interface Stretch {
  readonly body: Readable
  /** Bytes of the whole object. */
  readonly total: number
  /** Where the body begins in the object. */
  readonly start: number
}

/** The requests that a store is made of, on full keys. Each throws S3Failure. */
export interface S3Requests {
  /** @param isNew refused with 412 when there is an object, where the store can tell */
  put(key: string, bytes: Buffer, isNew: boolean): Promise<void>
  createUpload(key: string): Promise<string>
  uploadPart(key: string, upload: string, number: number, bytes: Buffer): Promise<UploadedPart>
  complete(key: string, upload: string, parts: readonly UploadedPart[]): Promise<void>
  abort(key: string, upload: string): Promise<void>
  /** Undefined when there is no such object. */
  head(key: string): Promise<StoredObject | undefined>
  /** @param end exclusive */
  get(key: string, start: number, end: number): Promise<Stretch>
  remove(key: string): Promise<void>
  copy(from: string, to: string): Promise<void>
  list(prefix: string): AsyncIterable<Listed>
  /** Asks for something that every use of the bucket needs, once. */
  check(prefix: string): Promise<void>
  uploads(prefix: string): AsyncIterable<Unfinished>
  /** When a part of an unfinished upload last came; undefined when none did. */
  lastPartAt(key: string, upload: string): Promise<number | undefined>
  close(): void
}

export function createRequests(
  place: S3Place,
  timeouts: Timeouts,
  { patient: attempt, once }: Attempts,
): S3Requests {
  const client = createClient(place, timeouts)
  const Bucket = place.bucket
  const slow = { requestTimeout: timeouts.work }
  let isConditionKnown = true

  const put: S3Requests['put'] = async (key, bytes, isNew) => {
    const md5 = createHash('md5').update(bytes).digest()
    const condition = isNew && isConditionKnown ? { IfNoneMatch: '*' } : {}
    try {
      const answer = await attempt('put', () =>
        client.send(
          new PutObjectCommand({
            Bucket,
            Key: key,
            Body: bytes,
            ContentLength: bytes.byteLength,
            ContentMD5: md5.toString('base64'),
            ...condition,
          }),
        ),
      )
      requireEtag(etagOf(answer), md5.toString('hex'), key)
    } catch (error) {
      // Some stores know no conditions: the name of an object is given once anyway.
      if (!condition.IfNoneMatch || !hasStatus(error, 501)) throw error
      isConditionKnown = false
      await put(key, bytes, isNew)
    }
  }

  return {
    put,

    async createUpload(key) {
      const { UploadId } = await attempt('create_upload', () =>
        client.send(new CreateMultipartUploadCommand({ Bucket, Key: key })),
      )
      if (!UploadId) throw incomplete('UploadId')
      return UploadId
    },

    async uploadPart(key, upload, number, bytes) {
      const md5 = createHash('md5').update(bytes).digest()
      const answer = await attempt('upload_part', () =>
        client.send(
          new UploadPartCommand({
            Bucket,
            Key: key,
            UploadId: upload,
            PartNumber: number,
            Body: bytes,
            ContentLength: bytes.byteLength,
            ContentMD5: md5.toString('base64'),
          }),
        ),
      )
      requireEtag(etagOf(answer), md5.toString('hex'), key)
      if (!answer.ETag) throw incomplete('ETag')
      return { number, md5, etag: answer.ETag }
    },

    async complete(key, upload, parts) {
      await attempt('complete_upload', () =>
        client.send(
          new CompleteMultipartUploadCommand({
            Bucket,
            Key: key,
            UploadId: upload,
            MultipartUpload: {
              Parts: parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag })),
            },
          }),
          slow,
        ),
      )
    },

    async abort(key, upload) {
      await ignoring404(
        attempt('abort_upload', () =>
          client.send(new AbortMultipartUploadCommand({ Bucket, Key: key, UploadId: upload })),
        ),
      )
    },

    async head(key) {
      const answer = await ignoring404(
        attempt('head', () => client.send(new HeadObjectCommand({ Bucket, Key: key }))),
      )
      return answer && { size: answer.ContentLength ?? 0, etag: etagOf(answer) }
    },

    async get(key, start, end) {
      const answer = await attempt('get', () =>
        client.send(new GetObjectCommand({ Bucket, Key: key, Range: `bytes=${start}-${end - 1}` })),
      )
      const body = answer.Body as Readable | undefined
      if (!body) throw incomplete('a body')
      // A connection may break while nobody reads: whoever reads next is told.
      body.on('error', () => undefined)
      return { body, ...rangeOf(answer) }
    },

    async remove(key) {
      await ignoring404(
        attempt('delete', () => client.send(new DeleteObjectCommand({ Bucket, Key: key }))),
      )
    },

    async copy(from, to) {
      await attempt('copy', () =>
        client.send(
          new CopyObjectCommand({ Bucket, Key: to, CopySource: `${Bucket}/${encoded(from)}` }),
          slow,
        ),
      )
    },

    async *list(prefix) {
      let token: string | undefined
      do {
        const page = await attempt('list', () =>
          client.send(
            new ListObjectsV2Command({ Bucket, Prefix: prefix, ContinuationToken: token }),
          ),
        )
        for (const { Key, Size, LastModified } of page.Contents ?? []) {
          if (Key === undefined || Size === undefined || !LastModified) throw incomplete('an entry')
          yield { key: Key, size: Size, modifiedAt: LastModified.getTime() }
        }
        token = page.IsTruncated ? page.NextContinuationToken : undefined
      } while (token)
    },

    async check(prefix) {
      await once('list', () =>
        client.send(new ListObjectsV2Command({ Bucket, Prefix: prefix, MaxKeys: 1 }), {
          requestTimeout: timeouts.check,
        }),
      )
    },

    async *uploads(prefix) {
      let markers: Markers | undefined = {}
      while (markers) {
        const query: Markers = markers
        const page: ListMultipartUploadsCommandOutput = await attempt('list_uploads', () =>
          client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: prefix, ...query })),
        )
        for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
          if (!Key || !UploadId || !Initiated) throw incomplete('an upload')
          yield { key: Key, upload: UploadId, initiatedAt: Initiated.getTime() }
        }
        markers = page.IsTruncated ? nextMarkers(page) : undefined
      }
    },

    async lastPartAt(key, upload) {
      const page = await ignoring404(
        attempt('list_parts', () =>
          client.send(new ListPartsCommand({ Bucket, Key: key, UploadId: upload })),
        ),
      )
      const times = (page?.Parts ?? []).map(({ LastModified }) => LastModified?.getTime() ?? 0)
      return times.length > 0 ? Math.max(...times) : undefined
    },

    close: () => client.destroy(),
  }
}

/**
 * The SDK's own retries, integrity trailers and searches for regions and credentials are off: a
 * stream with a trailer is refused by some stores, and nothing but the store is to be asked.
 */
function createClient({ endpoint, region, credentials }: S3Place, timeouts: Timeouts): S3Client {
  const agent = { keepAlive: true, maxSockets: MOST_CONNECTIONS }
  const client = new S3Client({
    region,
    ...(endpoint && { endpoint, forcePathStyle: true }),
    credentials: credentials ?? fromIni(),
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    followRegionRedirects: false,
    disableS3ExpressSessionAuth: true,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: timeouts.connect,
      requestTimeout: timeouts.request,
      // Without this the time-out is only a warning.
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
    }),
  })
  // The signature covers the MD5 of a body. That over http the SDK would have it cover a SHA-256 too
  // costs as much time as all the rest of a request.
  client.middlewareStack.add(
    (next) => (args) => {
      const { headers } = args.request as { headers: Record<string, string> }
      if (headers['content-md5']) headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD'
      return next(args)
    },
    { step: 'build', name: 'signMd5Only' },
  )
  return client
}

/** Without quotes; undefined where it is not made of MD5s. */
function etagOf(answer: {
  ETag?: string | undefined
  ServerSideEncryption?: string | undefined
}): string | undefined {
  if (answer.ServerSideEncryption?.startsWith('aws:kms')) return undefined
  return answer.ETag?.replaceAll('"', '') || undefined
}

function requireEtag(etag: string | undefined, expected: string, key: string): void {
  if (etag === undefined || etag === expected) return
  throw incomplete(`the MD5 of what was sent as ${key}`)
}

function rangeOf(answer: {
  ContentRange?: string | undefined
  ContentLength?: number | undefined
}): { start: number; total: number } {
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.ContentRange ?? '') ?? []
  if (start !== undefined) return { start: Number(start), total: Number(total) }
  // All of the object, from a store that does not know ranges.
  return { start: 0, total: answer.ContentLength ?? 0 }
}

function encoded(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/')
}

/** Where a page of unfinished uploads begins. */
interface Markers {
  readonly KeyMarker?: string
  readonly UploadIdMarker?: string
}

function nextMarkers(page: ListMultipartUploadsCommandOutput): Markers | undefined {
  const { NextKeyMarker, NextUploadIdMarker } = page
  if (!NextKeyMarker) return undefined
  return {
    KeyMarker: NextKeyMarker,
    ...(NextUploadIdMarker && { UploadIdMarker: NextUploadIdMarker }),
  }
}

async function ignoring404<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (hasCode(error, 'NoSuchBucket') || !hasStatus(error, 404)) throw error
    return undefined
  }
}
