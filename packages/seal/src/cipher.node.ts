/**
 * Everything that needs the platform: primitives over `node:crypto`, and base64.
 *
 * Plain functions over `Uint8Array` and opaque keys, so that another file with the same exports can
 * take this one's place elsewhere. Nothing here knows about age.
 *
 * Keys are always `KeyObject`s inside. On Node 24 a raw buffer handed to `createCipheriv` or
 * `createHmac` costs about 8 µs a call; and a `KeyObject` keeps the bytes out of the JavaScript heap.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  hash,
  hkdfSync,
  type KeyObject,
  decapsulate as nativeDecapsulate,
  encapsulate as nativeEncapsulate,
  timingSafeEqual,
} from 'node:crypto'

declare const keyUse: unique symbol

/** A symmetric key or secret whose bytes stay with the platform. */
export interface SecretKey {
  readonly [keyUse]: 'secret'
}
/** A private key whose bytes stay with the platform. */
export interface PrivateKey {
  readonly [keyUse]: 'private'
}
/** A public key in the platform's form. */
export interface PublicKey {
  readonly [keyUse]: 'public'
}
/** Bytes in a buffer of their own kind, as everything here returns them. */
export type Bytes = Uint8Array<ArrayBuffer>

type OpaqueKey = SecretKey | PrivateKey | PublicKey
const native = (key: OpaqueKey) => key as unknown as KeyObject
const secret = (key: KeyObject) => key as unknown as SecretKey
const priv = (key: KeyObject) => key as unknown as PrivateKey
const pub = (key: KeyObject) => key as unknown as PublicKey

const AEAD = 'chacha20-poly1305'
const AEAD_OPTIONS = { authTagLength: 16 } as const
/** Bytes of a Poly1305 tag. */
export const TAG_SIZE = 16

/** Fresh random bytes. */
export { randomBytes } from 'node:crypto'

/** Takes `bytes` into a key; the caller may zero them afterwards. */
export function importSecret(bytes: Uint8Array): SecretKey {
  return secret(createSecretKey(bytes))
}

/** The bytes of a secret, for the one place that has to print it. The caller zeroes them. */
export function exportSecret(key: SecretKey): Bytes {
  return native(key).export()
}

/** Whether `a` and `b` are equal, in time that depends on their length only. */
export function equalConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

/** HMAC-SHA-256. */
export function hmac(key: SecretKey, ...parts: readonly Uint8Array[]): Bytes {
  const mac = createHmac('sha256', native(key))
  for (const part of parts) mac.update(part)
  return mac.digest()
}

/** HKDF-SHA-256, extract and expand, to a 32-byte key. */
export function deriveKey(secretBytes: Uint8Array, salt: Uint8Array, info: Uint8Array): SecretKey {
  // The secret as a KeyObject here, too: it halves the cost on Node 24.
  const input = createSecretKey(secretBytes)
  const derived = new Uint8Array(hkdfSync('sha256', input, salt, info, 32))
  const key = importSecret(derived)
  derived.fill(0)
  return key
}

/** SHA3-256 over `bytes`. */
export function sha3(bytes: Uint8Array): Bytes {
  return hash('sha3-256', bytes, 'buffer')
}

/** SHAKE256 over `bytes`, `length` bytes of it. */
export function shake256(bytes: Uint8Array, length: number): Bytes {
  return hash('shake256', bytes, { outputEncoding: 'buffer', outputLength: length })
}

/**
 * ChaCha20-Poly1305 without associated data.
 *
 * @returns ciphertext (absent when `plain` is empty), then the 16-byte tag; each in a buffer of its
 *   own, so that they can be freed one by one.
 */
export function aeadSeal(key: SecretKey, nonce: Uint8Array, plain: Uint8Array): Bytes[] {
  const cipher = createCipheriv(AEAD, native(key), nonce, AEAD_OPTIONS)
  if (plain.length === 0) {
    cipher.final()
    return [cipher.getAuthTag()]
  }
  const sealed = cipher.update(plain)
  cipher.final()
  return [sealed, cipher.getAuthTag()]
}

/**
 * Opens what {@link aeadSeal} made, ciphertext and tag in one piece.
 *
 * @returns the plaintext in a buffer of its own, or `undefined` when it is not authentic
 */
export function aeadOpen(key: SecretKey, nonce: Uint8Array, sealed: Uint8Array): Bytes | undefined {
  const size = sealed.length - TAG_SIZE
  if (size < 0) return undefined
  const decipher = createDecipheriv(AEAD, native(key), nonce, AEAD_OPTIONS)
  decipher.setAuthTag(sealed.subarray(size))
  const plain = decipher.update(sealed.subarray(0, size))
  try {
    decipher.final()
    return plain
  } catch {
    // What was decrypted is not to be trusted: nobody may find it in memory later.
    plain.fill(0)
    return undefined
  }
}

/** A new X25519 private key. */
export function generateX25519(): PrivateKey {
  return priv(generateKeyPairSync('x25519').privateKey)
}

/** A new X25519 key for one use: the private half, and the 32 public bytes. */
export function ephemeralX25519(): { privateKey: PrivateKey; share: Bytes } {
  const pair = generateKeyPairSync('x25519')
  return { privateKey: priv(pair.privateKey), share: rawPublic(pair.publicKey) }
}

/** An X25519 private key from its 32 bytes. */
export function importX25519Private(bytes: Uint8Array): PrivateKey {
  return priv(createPrivateKey({ key: bytes, format: 'raw-private', asymmetricKeyType: 'x25519' }))
}

/** An X25519 public key from its 32 bytes. */
export function importX25519Public(bytes: Uint8Array): PublicKey {
  return pub(createPublicKey({ key: bytes, format: 'raw-public', asymmetricKeyType: 'x25519' }))
}

/** The 32 bytes of an X25519 private key, for the one place that has to print it. */
export function exportX25519Private(key: PrivateKey): Bytes {
  return native(key).export({ format: 'raw-private' })
}

/**
 * The X25519 shared secret.
 *
 * @returns 32 bytes, or `undefined` when `publicKey` is a point of low order, which would make the
 *   secret the same for everybody
 */
export function agreeX25519(privateKey: PrivateKey, publicKey: PublicKey): Bytes | undefined {
  try {
    return diffieHellman({ privateKey: native(privateKey), publicKey: native(publicKey) })
  } catch {
    return undefined
  }
}

/** An ML-KEM-768 private key from its 64-byte seed (d ‖ z). */
export function importMlKemPrivate(seed: Uint8Array): PrivateKey {
  return priv(createPrivateKey({ key: seed, format: 'raw-seed', asymmetricKeyType: 'ml-kem-768' }))
}

/**
 * An ML-KEM-768 public key from its 1,184 bytes.
 *
 * @returns the key, or `undefined` when the bytes are no such key
 */
export function importMlKemPublic(bytes: Uint8Array): PublicKey | undefined {
  try {
    return pub(
      createPublicKey({ key: bytes, format: 'raw-public', asymmetricKeyType: 'ml-kem-768' }),
    )
  } catch {
    return undefined
  }
}

/** The public bytes that belong to a private key, computed anew from it. */
export function publicBytes(key: PrivateKey): Bytes {
  return rawPublic(createPublicKey(native(key)))
}

/** ML-KEM-768: a 32-byte secret, and its 1,088-byte ciphertext for the holder of the key. */
export function encapsulate(key: PublicKey): { shared: Bytes; ciphertext: Bytes } {
  const { sharedKey, ciphertext } = nativeEncapsulate(native(key))
  return { shared: sharedKey, ciphertext }
}

/** ML-KEM-768: the 32-byte secret. A forged ciphertext gives a wrong secret, never an error. */
export function decapsulate(key: PrivateKey, ciphertext: Uint8Array): Bytes {
  return nativeDecapsulate(native(key), ciphertext)
}

/** Standard base64 without padding. */
export function encodeBase64(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
  const padding = text.indexOf('=')
  return padding < 0 ? text : text.slice(0, padding)
}

/**
 * Standard base64 without padding, in its one canonical form.
 *
 * @returns the bytes, or `undefined` for any other spelling
 */
export function decodeBase64(text: string): Bytes | undefined {
  // The platform's decoder skips what it does not know: only what encodes back is canonical.
  const bytes = new Uint8Array(Buffer.from(text, 'base64'))
  return encodeBase64(bytes) === text ? bytes : undefined
}

/** One character per byte. */
export function decodeLatin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function rawPublic(key: KeyObject): Bytes {
  return key.export({ format: 'raw-public' })
}
