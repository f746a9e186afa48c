/**
 * The text form of keys: Bech32 without its limit of 90 characters.
 *
 * Source: https://c2sp.org/age, sections on the recipient types. Identities are
 * written in capitals, recipients in small letters.
 */
import { bech32 } from '@scure/base'
import { SealError } from './errors.ts'

/** The text of a recipient: small letters. */
export function encodeRecipientText(prefix: string, bytes: Uint8Array): string {
  return bech32.encode(prefix, bech32.toWords(bytes), false)
}

/** The text of an identity: capitals. */
export function encodeIdentityText(prefix: string, bytes: Uint8Array): string {
  return encodeRecipientText(prefix.toLowerCase(), bytes).toUpperCase()
}

/**
 * The bytes behind the text of a key.
 *
 * @throws SealError `key_malformed`, with nothing of the text in it: it may be a secret
 */
export function decodeKeyText(text: string, prefix: string, size: number): Uint8Array<ArrayBuffer> {
  const bytes = decode(text)
  const isIdentity = prefix === prefix.toUpperCase()
  const encode = isIdentity ? encodeIdentityText : encodeRecipientText
  // Only what encodes back to the same text is taken: right prefix, right case, clean padding.
  if (bytes?.length !== size || encode(prefix, bytes) !== text) throw malformedKey()
  return bytes
}

/** The error for every text and every bytes that are no key. */
export function malformedKey(): SealError {
  return new SealError('key_malformed', 'not a key of a known kind')
}

function decode(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const { words } = bech32.decode(text, false)
    return new Uint8Array(bech32.fromWords(words))
  } catch {
    return undefined
  }
}
