import type { FastifyRequest } from 'fastify'
import { fileTypeFromBuffer } from 'file-type'
import type { StagedBlob } from '../../core/blobs/blobs.ts'
import type { Core } from '../../core/core.ts'
import { CoreError } from '../../core/errors.ts'
import { decodedFilename, readForm } from '../../http/multipart.ts'
import { invalid, type PrivasferError } from './errors.ts'

/** What the detector of media types looks at. */
const HEAD_BYTES = 4100
/** Boundaries and part headers around a file. */
const FORM_OVERHEAD = 64 * 1024
const MEDIA_TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]*\/[a-z0-9][a-z0-9!#$&^_.+-]*$/i
const DEFAULT_TYPE = 'application/octet-stream'

/** A file that was received and stored, and that belongs to nobody yet. */
export interface Upload {
  readonly staged: StagedBlob
  readonly name: string
  readonly type: string
}

/** Bytes; undefined is no limit. */
export interface UploadLimits {
  readonly file: number | undefined
  /** What is left of the account's quota. */
  readonly room: number | undefined
}

/**
 * Reads the form of an upload: one part `file`.
 *
 * @throws PrivasferError, RequestError, CoreError
 */
export async function readUpload(
  request: FastifyRequest,
  core: Core,
  limits: UploadLimits,
): Promise<Upload> {
  refuseByLength(request, limits)
  const { file, fields } = await readForm(request, {
    field: 'file',
    named: true,
    single: true,
    receive: async ({ bytes, filename = '', type }) => {
      const { head, all } = peek(bytes)
      const staged = await stage(core, all, limits)
      return { staged, name: decodedFilename(filename), type: await detectType(head(), type) }
    },
    drop: ({ staged }) => core.blobs.discard(staged),
  })
  if (file) return file
  throw invalid({
    file: [fields.has('file') ? 'The file must be a file.' : 'The file field is required.'],
  })
}

/** What is too long by its announced length is refused before a byte of it is read. */
function refuseByLength({ headers }: FastifyRequest, { file, room }: UploadLimits): void {
  const least = Number(headers['content-length'] ?? 0) - FORM_OVERHEAD
  if (file !== undefined && least > file) throw tooLarge(file)
  if (room !== undefined && least > room) throw new CoreError('quota_exceeded', 'no room left')
}

async function stage(
  core: Core,
  bytes: AsyncIterable<Uint8Array>,
  { file, room }: UploadLimits,
): Promise<StagedBlob> {
  const limit = Math.min(file ?? Number.POSITIVE_INFINITY, room ?? Number.POSITIVE_INFINITY)
  try {
    return await core.blobs.stage(bytes, limit)
  } catch (error) {
    if (!(error instanceof CoreError) || error.code !== 'file_too_large') throw error
    if (file !== undefined && limit === file) throw tooLarge(file)
    throw new CoreError('quota_exceeded', 'no room left')
  }
}

function tooLarge(limit: number): PrivasferError {
  return invalid({
    file: [`The file may not be greater than ${Math.floor(limit / 1024)} kilobytes.`],
  })
}

/** Lets bytes through and keeps their head. */
function peek(bytes: AsyncIterable<Uint8Array>): {
  all: AsyncIterable<Uint8Array>
  head: () => Buffer
} {
  const first: Buffer[] = []
  let kept = 0
  async function* through(): AsyncGenerator<Uint8Array> {
    for await (const piece of bytes) {
      if (kept < HEAD_BYTES) {
        const part = Buffer.from(piece.subarray(0, HEAD_BYTES - kept))
        first.push(part)
        kept += part.byteLength
      }
      yield piece
    }
  }
  return { all: through(), head: () => Buffer.concat(first) }
}

/** By content, or what the client says, or nothing in particular. */
async function detectType(head: Buffer, claimed: string): Promise<string> {
  const detected = await fileTypeFromBuffer(head).catch(() => undefined)
  if (detected) return detected.mime
  return MEDIA_TYPE.test(claimed) ? claimed.toLowerCase() : DEFAULT_TYPE
}
