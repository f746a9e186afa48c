import type { UploadClaim } from '../../core/company-files/records.ts'
import { decodedFilename, type FilePart } from '../../http/multipart.ts'
import { TwakeError } from './errors.ts'

const MOST_CHUNKS = 10_000

/** Every spelling that clients use, in the order in which they are believed. */
const SPELLINGS = {
  totalChunks: ['resumableTotalChunks', 'total_chunks', 'totalChunks'],
  totalSize: ['resumableTotalSize', 'total_size', 'totalSize', 'total_Size'],
  number: ['resumableChunkNumber', 'chunk_number', 'chunkNumber'],
  name: ['resumableFilename', 'filename'],
  mime: ['resumableType', 'type'],
  chunkSize: ['resumableCurrentChunkSize'],
  thumbnailSync: ['thumbnail_sync', 'thumbnailSync'],
} as const

/** What clients write when they have nothing to say. */
const ABSENT = new Set(['', 'undefined', 'null'])

type Query = unknown
type Fields = ReadonlyMap<string, string>

/**
 * What a request says of a file: in its query, in the fields before the file, and in the head of the
 * file's part.
 *
 * @throws TwakeError 400 for numbers that no chunk and no file can have
 */
export function claimOf(query: Query, fields: Fields = new Map(), part?: FilePart): UploadClaim {
  const say = (parameter: keyof typeof SPELLINGS) => textOf(parameter, query, fields)
  return {
    name: say('name'),
    mime: say('mime'),
    partName: part?.filename && decodedFilename(part.filename),
    partMime: part?.type,
    totalChunks: wholeNumber('the number of chunks', say('totalChunks'), 1, MOST_CHUNKS),
    totalSize: wholeNumber('the total size', say('totalSize'), 0, Number.MAX_SAFE_INTEGER),
    number: wholeNumber('the chunk number', say('number'), 1, MOST_CHUNKS),
  }
}

/** The size of the chunk that a client asks about; undefined when it says none. */
export function chunkSizeOf(query: Query): number | undefined {
  const text = textOf('chunkSize', query, new Map())
  return wholeNumber('the chunk size', text, 0, Number.MAX_SAFE_INTEGER)
}

/** Whether a client wants its answer with the previews; `0` and `false` say no, as nothing does. */
export function waitsForPreviews(query: Query, fields: Fields = new Map()): boolean {
  const text = textOf('thumbnailSync', query, fields)
  return text !== undefined && !/^(0|false)$/i.test(text.trim())
}

function textOf(
  parameter: keyof typeof SPELLINGS,
  query: Query,
  fields: Fields,
): string | undefined {
  const places = [
    (name: string) => firstOf((query as Record<string, unknown>)[name]),
    (name: string) => fields.get(name),
  ]
  for (const lookUp of places) {
    for (const name of SPELLINGS[parameter]) {
      const text = lookUp(name)
      if (text !== undefined && !ABSENT.has(text)) return text
    }
  }
  return undefined
}

/** Of a parameter that is repeated the first counts. */
function firstOf(value: unknown): string | undefined {
  const first = Array.isArray(value) ? value[0] : value
  return typeof first === 'string' ? first : undefined
}

/** What is no number at all counts as absent, as it always has; a number out of its range does not. */
function wholeNumber(
  what: string,
  text: string | undefined,
  least: number,
  most: number,
): number | undefined {
  const number = Number.parseInt(text ?? '', 10)
  if (Number.isNaN(number)) return undefined
  if (number >= least && number <= most) return number
  throw new TwakeError(400, `${what} must be from ${least} to ${most}`)
}
