/**
 * From keys to a payload key and back: the header with the nonce behind it.
 *
 * Source: https://c2sp.org/age, sections "File key", "Header" and "Payload".
 */
import { ascii, concat } from './bytes.ts'
import { deriveKey, randomBytes, type SecretKey } from './cipher.node.ts'
import { SealError } from './errors.ts'
import {
  encodedHeaderSize,
  encodeHeader,
  HEADER_LIMITS,
  type HeaderLimits,
  PAYLOAD_NONCE_SIZE,
  parseHeader,
  type Stanza,
  verifyHeaderMac,
} from './header.ts'
import { FILE_KEY_SIZE, type FileKeyOpener, type Recipient } from './recipient.ts'

/**
 * The key of one payload. Opaque: it can be kept in a cache to read ranges, but neither printed nor
 * written down.
 */
export type PayloadKey = SecretKey

/** A new header, and the key of the payload that belongs behind it. */
export interface Header {
  /** Header text and the 16-byte payload nonce: what a file begins with. */
  readonly bytes: Uint8Array
  readonly payloadKey: PayloadKey
}

/** A header that an identity has opened and found authentic. */
export interface OpenedHeader {
  /** Bytes of the header text and the payload nonce: where the payload begins. */
  readonly size: number
  readonly payloadKey: PayloadKey
}

const PAYLOAD_INFO = ascii('payload')

/**
 * Makes a header with a new file key, wrapped for each of the recipients.
 *
 * The payload key is for one payload only. To mix kinds is possible, but a file for a hybrid and an
 * X25519 recipient is only as safe as one for the latter.
 *
 * @throws SealError `no_recipients`
 */
export function sealHeader(recipients: readonly Recipient[]): Header {
  if (recipients.length === 0) {
    throw new SealError('no_recipients', 'a file has to be sealed for somebody')
  }
  // One call for both: asking the platform costs more than the bytes do.
  const random = randomBytes(FILE_KEY_SIZE + PAYLOAD_NONCE_SIZE)
  const fileKey = random.subarray(0, FILE_KEY_SIZE)
  const nonce = random.subarray(FILE_KEY_SIZE)
  const stanzas = recipients.map((recipient) => recipient.wrap(fileKey))
  const text = encodeHeader(stanzas, fileKey)
  const payloadKey = deriveKey(fileKey, nonce, PAYLOAD_INFO)
  fileKey.fill(0)
  return { bytes: concat(text, nonce), payloadKey }
}

/**
 * Finds the payload key in the first bytes of a file, which may go on behind the header.
 *
 * @param identities tried in this order
 * @throws SealError `header_truncated` (with more bytes the answer may be another),
 *   `header_too_large`, `header_malformed`, `no_match`, `header_mac`
 */
export function openHeader(
  prefix: Uint8Array,
  identities: readonly FileKeyOpener[],
  limits: HeaderLimits = HEADER_LIMITS,
): OpenedHeader {
  const header = parseHeader(prefix, limits)
  const size = header.size + PAYLOAD_NONCE_SIZE
  if (prefix.length < size) {
    throw new SealError('header_truncated', 'the bytes end before the payload nonce does')
  }
  const fileKey = findFileKey(header.stanzas, identities)
  try {
    verifyHeaderMac(fileKey, header)
    const nonce = prefix.subarray(header.size, size)
    return { size, payloadKey: deriveKey(fileKey, nonce, PAYLOAD_INFO) }
  } finally {
    fileKey.fill(0)
  }
}

/** Bytes of the header text and the payload nonce that {@link sealHeader} makes for `recipients`. */
export function headerSize(recipients: readonly Recipient[]): number {
  return encodedHeaderSize(recipients.map((recipient) => recipient.stanzaSize))
}

function findFileKey(stanzas: readonly Stanza[], identities: readonly FileKeyOpener[]): Uint8Array {
  for (const identity of identities) {
    const fileKey = identity.unwrap(stanzas)
    if (!fileKey) continue
    if (fileKey.length === FILE_KEY_SIZE) return fileKey
    throw new SealError('header_malformed', 'a file key of the wrong size')
  }
  throw new SealError('no_match', 'the file was not sealed for any of these identities')
}
