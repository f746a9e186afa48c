/**
 * Keys of the X25519 kind. Source: https://c2sp.org/age, section "The X25519 recipient type".
 */
import { ascii, concat } from './bytes.ts'
import {
  aeadOpen,
  aeadSeal,
  agreeX25519,
  decodeBase64,
  deriveKey,
  encodeBase64,
  ephemeralX25519,
  exportX25519Private,
  generateX25519,
  importX25519Private,
  importX25519Public,
  type PrivateKey,
  type PublicKey,
  publicBytes,
  type SecretKey,
} from './cipher.node.ts'
import { SealError } from './errors.ts'
import type { Stanza } from './header.ts'
import { decodeKeyText, encodeIdentityText, encodeRecipientText, malformedKey } from './keys.ts'
import {
  DiscreetIdentity,
  type Identity,
  type Recipient,
  readStanza,
  stanzaSizeOf,
  ZERO_NONCE,
} from './recipient.ts'

const TYPE = 'X25519'
const INFO = ascii('age-encryption.org/v1/X25519')
const KEY_SIZE = 32
const RECIPIENT_PREFIX = 'age'
const IDENTITY_PREFIX = 'AGE-SECRET-KEY-'

/** A recipient of kind `x25519`. */
export class X25519Recipient implements Recipient {
  readonly kind = 'x25519'
  readonly stanzaSize = stanzaSizeOf(TYPE, 43)
  readonly #bytes: Uint8Array
  readonly #publicKey: PublicKey

  /** @param bytes the 32 bytes of the public key */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#publicKey = importX25519Public(bytes)
  }

  /** @throws SealError `key_malformed` */
  static parse(text: string): X25519Recipient {
    const recipient = new X25519Recipient(decodeKeyText(text, RECIPIENT_PREFIX, KEY_SIZE))
    // A point of low order agrees with nobody. Better found out here than when a file is to be sealed.
    recipient.wrap(new Uint8Array(16))
    return recipient
  }

  wrap(fileKey: Uint8Array): Stanza {
    const { privateKey, share } = ephemeralX25519()
    const shared = agreeX25519(privateKey, this.#publicKey)
    if (!shared) throw malformedKey()
    const body = concat(...aeadSeal(wrapKey(shared, share, this.#bytes), ZERO_NONCE, fileKey))
    return { type: TYPE, args: [encodeBase64(share)], body }
  }

  toString(): string {
    return encodeRecipientText(RECIPIENT_PREFIX, this.#bytes)
  }
}

/** An identity of kind `x25519`. */
export class X25519Identity extends DiscreetIdentity implements Identity {
  readonly kind = 'x25519'
  readonly recipient: Recipient
  readonly #privateKey: PrivateKey
  readonly #publicBytes: Uint8Array

  private constructor(privateKey: PrivateKey) {
    super()
    this.#privateKey = privateKey
    this.#publicBytes = publicBytes(privateKey)
    this.recipient = new X25519Recipient(this.#publicBytes)
  }

  static generate(): X25519Identity {
    return new X25519Identity(generateX25519())
  }

  /** @throws SealError `key_malformed` */
  static parse(text: string): X25519Identity {
    const secret = decodeKeyText(text, IDENTITY_PREFIX, KEY_SIZE)
    const identity = new X25519Identity(importX25519Private(secret))
    secret.fill(0)
    return identity
  }

  unwrap(stanzas: readonly Stanza[]): Uint8Array | undefined {
    for (const stanza of stanzas) {
      if (stanza.type !== TYPE) continue
      const { share, body } = readStanza(stanza, decodeBase64, KEY_SIZE)
      const shared = agreeX25519(this.#privateKey, importX25519Public(share))
      if (!shared) throw new SealError('header_malformed', 'a share of low order')
      const fileKey = aeadOpen(wrapKey(shared, share, this.#publicBytes), ZERO_NONCE, body)
      if (fileKey) return fileKey
    }
    return undefined
  }

  override toString(): string {
    const secret = exportX25519Private(this.#privateKey)
    const text = encodeIdentityText(IDENTITY_PREFIX, secret)
    secret.fill(0)
    return text
  }
}

function wrapKey(shared: Uint8Array, share: Uint8Array, recipient: Uint8Array): SecretKey {
  const key = deriveKey(shared, concat(share, recipient), INFO)
  shared.fill(0)
  return key
}
