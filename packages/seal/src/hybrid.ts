/**
 * Keys of the hybrid kind: ML-KEM-768 with X25519.
 *
 * Sources: https://c2sp.org/age, section "mlkem768x25519 recipient stanza" (one HPKE message
 * with the encapsulated key as its argument); RFC 9180 (HPKE, base mode); draft-connolly-cfrg-xwing-kem
 * (the KEM).
 */
import { ascii, concat } from './bytes.ts'
import {
  aeadOpen,
  aeadSeal,
  agreeX25519,
  decapsulate,
  decodeBase64,
  encapsulate,
  encodeBase64,
  ephemeralX25519,
  exportSecret,
  hmac,
  importMlKemPrivate,
  importMlKemPublic,
  importSecret,
  importX25519Private,
  importX25519Public,
  type PrivateKey,
  type PublicKey,
  publicBytes,
  randomBytes,
  type SecretKey,
  sha3,
  shake256,
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
} from './recipient.ts'

const TYPE = 'mlkem768x25519'
const RECIPIENT_PREFIX = 'age1pq'
const IDENTITY_PREFIX = 'AGE-SECRET-KEY-PQ-'
const SEED_SIZE = 32
/** The seed expands to the seed of the ML-KEM key, then the X25519 key. */
const MLKEM_SEED_SIZE = 64
const X25519_SIZE = 32
const MLKEM_PUBLIC_SIZE = 1184
const PUBLIC_SIZE = MLKEM_PUBLIC_SIZE + X25519_SIZE
const MLKEM_CIPHERTEXT_SIZE = 1088
const SHARE_SIZE = MLKEM_CIPHERTEXT_SIZE + X25519_SIZE
/** Characters of a share in base64 without padding. */
const SHARE_LENGTH = Math.ceil((SHARE_SIZE * 4) / 3)
const KEM_LABEL = ascii('\\.//^\\')

/** A recipient of kind `hybrid`. */
export class HybridRecipient implements Recipient {
  readonly kind = 'hybrid'
  readonly stanzaSize = stanzaSizeOf(TYPE, SHARE_LENGTH)
  readonly #bytes: Uint8Array
  readonly #mlKem: PublicKey
  readonly #x25519: PublicKey

  /**
   * @param bytes the 1,216 bytes of the public key
   * @throws SealError `key_malformed`
   */
  constructor(bytes: Uint8Array) {
    const mlKem = importMlKemPublic(bytes.subarray(0, MLKEM_PUBLIC_SIZE))
    if (!mlKem) throw malformedKey()
    this.#bytes = bytes
    this.#mlKem = mlKem
    this.#x25519 = importX25519Public(bytes.subarray(MLKEM_PUBLIC_SIZE))
  }

  /** @throws SealError `key_malformed` */
  static parse(text: string): HybridRecipient {
    const recipient = new HybridRecipient(decodeKeyText(text, RECIPIENT_PREFIX, PUBLIC_SIZE))
    // As for X25519: a point of low order is found out here.
    recipient.wrap(new Uint8Array(16))
    return recipient
  }

  wrap(fileKey: Uint8Array): Stanza {
    const mlKem = encapsulate(this.#mlKem)
    const { privateKey, share: x25519Share } = ephemeralX25519()
    const x25519 = agreeX25519(privateKey, this.#x25519)
    if (!x25519) throw malformedKey()
    const recipient = this.#bytes.subarray(MLKEM_PUBLIC_SIZE)
    const { key, nonce } = hpkeKey(kemSecret(mlKem.shared, x25519, x25519Share, recipient))
    const body = concat(...aeadSeal(key, nonce, fileKey))
    return { type: TYPE, args: [encodeBase64(concat(mlKem.ciphertext, x25519Share))], body }
  }

  toString(): string {
    return encodeRecipientText(RECIPIENT_PREFIX, this.#bytes)
  }
}

/** An identity of kind `hybrid`. */
export class HybridIdentity extends DiscreetIdentity implements Identity {
  readonly kind = 'hybrid'
  readonly recipient: Recipient
  readonly #seed: SecretKey
  readonly #mlKem: PrivateKey
  readonly #x25519: PrivateKey
  readonly #x25519Public: Uint8Array

  /** @param seed 32 secret bytes, zeroed here */
  private constructor(seed: Uint8Array) {
    super()
    const expanded = shake256(seed, MLKEM_SEED_SIZE + X25519_SIZE)
    this.#seed = importSecret(seed)
    this.#mlKem = importMlKemPrivate(expanded.subarray(0, MLKEM_SEED_SIZE))
    this.#x25519 = importX25519Private(expanded.subarray(MLKEM_SEED_SIZE))
    expanded.fill(0)
    seed.fill(0)
    this.#x25519Public = publicBytes(this.#x25519)
    this.recipient = new HybridRecipient(concat(publicBytes(this.#mlKem), this.#x25519Public))
  }

  static generate(): HybridIdentity {
    return new HybridIdentity(randomBytes(SEED_SIZE))
  }

  /** @throws SealError `key_malformed` */
  static parse(text: string): HybridIdentity {
    return new HybridIdentity(decodeKeyText(text, IDENTITY_PREFIX, SEED_SIZE))
  }

  unwrap(stanzas: readonly Stanza[]): Uint8Array | undefined {
    for (const stanza of stanzas) {
      if (stanza.type !== TYPE) continue
      const { share, body } = readStanza(stanza, decodeBase64, SHARE_SIZE)
      const { key, nonce } = hpkeKey(this.#decapsulate(share))
      const fileKey = aeadOpen(key, nonce, body)
      if (fileKey) return fileKey
    }
    return undefined
  }

  override toString(): string {
    const seed = exportSecret(this.#seed)
    const text = encodeIdentityText(IDENTITY_PREFIX, seed)
    seed.fill(0)
    return text
  }

  #decapsulate(share: Uint8Array): Uint8Array {
    const x25519Share = share.subarray(MLKEM_CIPHERTEXT_SIZE)
    const x25519 = agreeX25519(this.#x25519, importX25519Public(x25519Share))
    if (!x25519) throw new SealError('header_malformed', 'a share of low order')
    const mlKem = decapsulate(this.#mlKem, share.subarray(0, MLKEM_CIPHERTEXT_SIZE))
    return kemSecret(mlKem, x25519, x25519Share, this.#x25519Public)
  }
}

/** Combines the secrets of both halves; the ML-KEM ciphertext needs no binding, it binds itself. */
function kemSecret(
  mlKem: Uint8Array,
  x25519: Uint8Array,
  x25519Share: Uint8Array,
  x25519Recipient: Uint8Array,
): Uint8Array {
  const input = concat(mlKem, x25519, x25519Share, x25519Recipient, KEM_LABEL)
  const shared = sha3(input)
  for (const part of [mlKem, x25519, input]) part.fill(0)
  return shared
}

// HPKE: KEM 0x647a (ML-KEM-768 with X25519), KDF 1 (HKDF-SHA-256), AEAD 3 (ChaCha20-Poly1305).
const SUITE = concat(ascii('HPKE'), Uint8Array.of(0x64, 0x7a, 0, 1, 0, 3))
const LABEL_START = concat(ascii('HPKE-v1'), SUITE)
const EMPTY = new Uint8Array(0)
const NO_SALT = importSecret(EMPTY)
const BASE_MODE = Uint8Array.of(0)

/** The part of the key schedule that is the same for all messages of this stanza type. */
const CONTEXT = concat(
  BASE_MODE,
  labeledExtract(NO_SALT, 'psk_id_hash', EMPTY),
  labeledExtract(NO_SALT, 'info_hash', ascii('age-encryption.org/mlkem768x25519')),
)
const KEY_INPUT = labeledExpandInput('key', CONTEXT, 32)
const NONCE_INPUT = labeledExpandInput('base_nonce', CONTEXT, 12)

/** The key and the nonce of the one message of a stanza: RFC 9180, section 5.1. */
function hpkeKey(shared: Uint8Array): { key: SecretKey; nonce: Uint8Array } {
  const extracted = labeledExtract(importSecret(shared), 'secret', EMPTY)
  const prk = importSecret(extracted)
  const keyBytes = hmac(prk, KEY_INPUT)
  const key = importSecret(keyBytes)
  const nonce = hmac(prk, NONCE_INPUT).subarray(0, 12)
  for (const part of [shared, extracted, keyBytes]) part.fill(0)
  return { key, nonce }
}

function labeledExtract(salt: SecretKey, label: string, input: Uint8Array): Uint8Array {
  return hmac(salt, LABEL_START, ascii(label), input)
}

/** What HKDF-Expand hashes for its only block, since no output here is longer than 32 bytes. */
function labeledExpandInput(label: string, info: Uint8Array, length: number): Uint8Array {
  return concat(Uint8Array.of(0, length), LABEL_START, ascii(label), info, Uint8Array.of(1))
}
