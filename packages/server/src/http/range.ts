import type { IncomingHttpHeaders } from 'node:http'

export interface ByteRange {
  /** The first byte. */
  readonly start: number
  /** The byte behind the last. */
  readonly end: number
}

const ONE_RANGE = /^bytes=\s*(\d*)-(\d*)\s*$/i

/**
 * The one range that a GET asks for (RFC 9110, section 14), or undefined for all of it: also when
 * the header is malformed, asks for several ranges, or `If-Range` names another version. Our own,
 * since npm's `range-parser` refuses a suffix that is longer than the file, which asks for all of it.
 *
 * @param etag the strong entity tag of what would be sent, with its quotes
 */
export function requestedRange(
  headers: IncomingHttpHeaders,
  size: number,
  etag: string,
): ByteRange | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = ONE_RANGE.exec(headers.range ?? '') ?? []
  const ifRange = headers['if-range']
  if ((first === '' && last === '') || (ifRange !== undefined && ifRange !== etag)) return undefined
  if (first === '') return suffix(Number(last), size)
  const start = Number(first)
  const end = last === '' ? size : Math.min(Number(last) + 1, size)
  if (last !== '' && Number(last) < start) return undefined
  return start < size ? { start, end } : 'unsatisfiable'
}

function suffix(length: number, size: number): ByteRange | 'unsatisfiable' {
  if (length === 0 || size === 0) return 'unsatisfiable'
  return { start: Math.max(0, size - length), end: size }
}
