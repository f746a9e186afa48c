/** What every kind of key has in common: see `x25519.ts` and `hybrid.ts` for the two kinds. */
import { SealError } from './errors.ts'
import type { Stanza } from './header.ts'

/** The two kinds of keys; `hybrid` is ML-KEM-768 with X25519, safe from quantum computers. */
export type KeyKind = 'x25519' | 'hybrid'

/** The public half: somebody a file can be sealed for. */
export interface Recipient {
  readonly kind: KeyKind
  /** Bytes that {@link wrap} adds to a header, always the same. */
  readonly stanzaSize: number
  /** Wraps the 16 bytes of a file key. For headers only; what it returns is public. */
  wrap(fileKey: Uint8Array): Stanza
  /** The text form: `age1…` or `age1pq1…`. */
  toString(): string
}

/** Whatever can find the file key of a header that was made for it. */
export interface FileKeyOpener {
  /**
   * Looks for a stanza made for this key.
   *
   * @returns the 16 bytes of the file key, or `undefined` when there is none
   * @throws SealError `header_malformed` when a stanza of the right type is not what the type allows
   */
  unwrap(stanzas: readonly Stanza[]): Uint8Array | undefined
}

/**
 * The private half. Neither `console.log` nor `JSON.stringify` show the secret; only `toString` does.
 */
export interface Identity extends FileKeyOpener {
  readonly kind: KeyKind
  /** The public half, computed from this one. */
  readonly recipient: Recipient
  /** The secret text form: `AGE-SECRET-KEY-1…` or `AGE-SECRET-KEY-PQ-1…`. */
  toString(): string
}

/** Bytes of a file key. */
export const FILE_KEY_SIZE = 16
/** Bytes of a file key under an AEAD, which is the body of both kinds of stanzas. */
export const WRAPPED_SIZE = FILE_KEY_SIZE + 16
/** The nonce where a key is used for one message only. */
export const ZERO_NONCE = new Uint8Array(12)

/** Bytes of a stanza with such words on its first line and a body of {@link WRAPPED_SIZE}. */
export function stanzaSizeOf(type: string, argumentLength: number): number {
  const firstLine = '-> '.length + type.length + 1 + argumentLength + 1
  const body = 43 + 1
  return firstLine + body
}

/**
 * The decoded parts of a stanza whose type takes one argument.
 *
 * The size of the body is checked before any key touches it, so that one body cannot be made to open
 * under two keys.
 *
 * @throws SealError `header_malformed`
 */
export function readStanza(
  stanza: Stanza,
  decode: (text: string) => Uint8Array | undefined,
  shareSize: number,
): { share: Uint8Array; body: Uint8Array } {
  const [argument, ...more] = stanza.args
  const share = decode(argument ?? '')
  if (more.length > 0 || share?.length !== shareSize || stanza.body.length !== WRAPPED_SIZE) {
    throw new SealError('header_malformed', `a bad ${stanza.type} stanza`)
  }
  return { share, body: stanza.body }
}

const inspectCustom = Symbol.for('nodejs.util.inspect.custom')

/** Keeps an identity's secret out of logs: shown are kind and public half. */
export abstract class DiscreetIdentity {
  abstract readonly kind: KeyKind
  abstract readonly recipient: Recipient

  toJSON(): { kind: KeyKind; recipient: string } {
    return { kind: this.kind, recipient: this.recipient.toString() }
  }

  [inspectCustom](): string {
    return `Identity ${this.kind} of ${this.recipient}`
  }
}
