/**
 * What went wrong, as a closed list. A code is never renamed and never changes its meaning.
 *
 * Header:
 * - `header_truncated`: the bytes end before the header and its payload nonce do; more may help.
 * - `header_too_large`: the header exceeds the limits on bytes or stanzas.
 * - `header_malformed`: the header is not what the specification allows.
 * - `header_mac`: a stanza gave a file key, but the header was changed after it was made.
 * - `no_match`: none of the identities opens any stanza.
 * - `no_recipients`: a header for nobody was asked for.
 *
 * Payload:
 * - `chunk_authentication`: a chunk is not the one that was sealed at this place.
 * - `truncated`: the payload ends too early.
 * - `trailing_data`: there are bytes behind the last chunk.
 * - `size_invalid`: no file can have this size, or the plaintext is not as long as announced.
 * - `range_invalid`: a range or chunk index outside of the plaintext.
 *
 * Keys and calls:
 * - `key_malformed`: not an identity or recipient of a known kind.
 * - `closed`: the sealer or opener has already ended or failed.
 */
export type SealErrorCode =
  | 'header_truncated'
  | 'header_too_large'
  | 'header_malformed'
  | 'header_mac'
  | 'no_match'
  | 'no_recipients'
  | 'chunk_authentication'
  | 'truncated'
  | 'trailing_data'
  | 'size_invalid'
  | 'range_invalid'
  | 'key_malformed'
  | 'closed'

/**
 * The only error this package throws on bad input. `message` is for people and may change, `code`
 * is for programs. Neither ever holds key material or plaintext.
 */
export class SealError extends Error {
  readonly code: SealErrorCode

  constructor(code: SealErrorCode, message: string) {
    super(message)
    this.name = 'SealError'
    this.code = code
  }
}
