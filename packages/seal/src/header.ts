/**
 * The header: its text, its limits and its MAC.
 *
 * Source: https://c2sp.org/age, sections "Header" and "Header MAC". The header is text; the payload
 * nonce behind it is not part of it, but is counted in every size named `headerBytes` here, because
 * nothing can be done without it.
 */
import { ascii, concat } from './bytes.ts'
import {
  decodeBase64,
  decodeLatin1,
  deriveKey,
  encodeBase64,
  equalConstantTime,
  hmac,
} from './cipher.node.ts'
import { SealError } from './errors.ts'

/**
 * One wrapping of the file key, for one recipient (or more, as its type decides).
 *
 * `type` and `args` are the words of the first line, each of one or more characters from `!` to
 * `~`. `body` is any number of bytes.
 */
export interface Stanza {
  readonly type: string
  readonly args: readonly string[]
  readonly body: Uint8Array
}

/** A header as read, not yet authenticated. */
export interface ParsedHeader {
  readonly stanzas: readonly Stanza[]
  /** 32 bytes. */
  readonly mac: Uint8Array
  /** What the MAC covers: from the version line up to and with the three dashes. */
  readonly covered: Uint8Array
  /** Bytes of the header text, which is where the payload nonce begins. */
  readonly size: number
}

/** How much work a header made by somebody else may cause. */
export interface HeaderLimits {
  /** Bytes of the header text. */
  readonly bytes: number
  /** Stanzas in the header; each can cost an identity about 50 µs. */
  readonly stanzas: number
}

/** The limits that hold when the caller names none: 128 KiB and 64 stanzas. */
export const HEADER_LIMITS: HeaderLimits = Object.freeze({ bytes: 131_072, stanzas: 64 })

/** Bytes of the nonce between header and payload. */
export const PAYLOAD_NONCE_SIZE = 16

const VERSION = 'age-encryption.org/v1'
const STANZA_MARK = '->'
const MAC_MARK = '---'
const MAC_SIZE = 32
/** Characters of a full line of a stanza's body, and the bytes they stand for. */
const BODY_LINE = 64
const BODY_LINE_BYTES = 48
const LF = 10
const NO_SALT = new Uint8Array(0)
const MAC_INFO = ascii('header')

/** Bytes of the header text without any stanza: version line and MAC line. */
const FRAME_SIZE = VERSION.length + 1 + MAC_MARK.length + 1 + 43 + 1

/** Bytes that a header with such stanzas and its payload nonce take together. */
export function encodedHeaderSize(stanzaSizes: readonly number[]): number {
  let size = FRAME_SIZE + PAYLOAD_NONCE_SIZE
  for (const stanzaSize of stanzaSizes) size += stanzaSize
  return size
}

/**
 * Writes a header and authenticates it.
 *
 * @param stanzas at least one; as {@link Stanza} says
 * @param fileKey the 16 bytes that the stanzas wrap
 */
export function encodeHeader(stanzas: readonly Stanza[], fileKey: Uint8Array): Uint8Array {
  let text = `${VERSION}\n`
  for (const stanza of stanzas) text += encodeStanza(stanza)
  text += MAC_MARK
  return ascii(`${text} ${encodeBase64(headerMac(fileKey, ascii(text)))}\n`)
}

/**
 * Reads a header from the first bytes of a file, which may go on behind it.
 *
 * @throws SealError `header_truncated` when the bytes end before the header does,
 *   `header_too_large`, `header_malformed`
 */
export function parseHeader(
  prefix: Uint8Array,
  limits: HeaderLimits = HEADER_LIMITS,
): ParsedHeader {
  const lines = new LineReader(prefix, limits.bytes)
  if (lines.next(VERSION) !== VERSION) throw malformed('no age version line')
  const stanzas: Stanza[] = []
  for (;;) {
    const start = lines.position
    const line = lines.next('-')
    if (line.startsWith(`${MAC_MARK} `)) {
      if (stanzas.length === 0) throw malformed('a header without stanzas')
      const covered = prefix.subarray(0, start + MAC_MARK.length)
      return { stanzas, mac: parseMac(line), covered, size: lines.position }
    }
    if (stanzas.length === limits.stanzas) throw tooLarge(`more than ${limits.stanzas} stanzas`)
    stanzas.push(parseStanza(line, lines))
  }
}

/**
 * Proves that the header is as the holder of the file key made it.
 *
 * @throws SealError `header_mac`
 */
export function verifyHeaderMac(fileKey: Uint8Array, header: ParsedHeader): void {
  if (!equalConstantTime(headerMac(fileKey, header.covered), header.mac)) {
    throw new SealError('header_mac', 'the header was changed after it was made')
  }
}

function headerMac(fileKey: Uint8Array, covered: Uint8Array): Uint8Array {
  return hmac(deriveKey(fileKey, NO_SALT, MAC_INFO), covered)
}

function encodeStanza({ type, args, body }: Stanza): string {
  const encoded = encodeBase64(body)
  let text = `${[STANZA_MARK, type, ...args].join(' ')}\n`
  // The line that ends a body is shorter than a full one, be it empty: hence `<=`.
  for (let at = 0; at <= encoded.length; at += BODY_LINE) {
    text += `${encoded.slice(at, at + BODY_LINE)}\n`
  }
  return text
}

function parseStanza(firstLine: string, lines: LineReader): Stanza {
  const [mark, type, ...args] = firstLine.split(' ')
  if (mark !== STANZA_MARK || !type || args.includes('')) throw malformed('not a stanza')
  const parts: Uint8Array[] = []
  for (;;) {
    const part = decodeBase64(lines.next(''))
    if (!part || part.length > BODY_LINE_BYTES) throw malformed('a bad line in a stanza body')
    parts.push(part)
    if (part.length < BODY_LINE_BYTES) return { type, args, body: concat(...parts) }
  }
}

function parseMac(line: string): Uint8Array {
  const mac = decodeBase64(line.slice(MAC_MARK.length + 1))
  if (mac?.length !== MAC_SIZE) throw malformed('a bad MAC line')
  return mac
}

/** Reads lines of printable ASCII, and refuses early what can no longer become one. */
class LineReader {
  position = 0
  readonly #bytes: Uint8Array
  readonly #limit: number

  constructor(bytes: Uint8Array, limit: number) {
    this.#bytes = bytes
    this.#limit = limit
  }

  /** @param start what the line has to begin with, as far as it is there */
  next(start: string): string {
    const window = this.#bytes.subarray(0, this.#limit)
    const end = window.indexOf(LF, this.position)
    const line = decodeLatin1(window.subarray(this.position, end < 0 ? undefined : end))
    if (!line.startsWith(start.slice(0, line.length)) || /[^ -~]/.test(line)) {
      throw malformed('a bad line in the header')
    }
    if (end < 0) throw this.#unfinished()
    this.position = end + 1
    return line
  }

  #unfinished(): SealError {
    if (this.#bytes.length >= this.#limit) return tooLarge(`more than ${this.#limit} bytes`)
    return new SealError('header_truncated', 'the bytes end before the header does')
  }
}

function malformed(message: string): SealError {
  return new SealError('header_malformed', message)
}

function tooLarge(message: string): SealError {
  return new SealError('header_too_large', `the header has ${message}`)
}
