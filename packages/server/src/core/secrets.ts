import { createHash, createHmac, randomInt, timingSafeEqual } from 'node:crypto'

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** 60 characters of base62: 357 bits. */
const TOKEN_LENGTH = 60

/** 32 characters of base62: 190 bits. */
const KEY_LENGTH = 32

/** A new session or API token. Only its hash is ever stored. */
export function generateToken(): string {
  return randomText(TOKEN_LENGTH)
}

/** A new short-lived key. Only its hash is ever stored. */
export function generateKey(): string {
  return randomText(KEY_LENGTH)
}

function randomText(length: number): string {
  return Array.from({ length }, () => BASE62[randomInt(BASE62.length)]).join('')
}

/** What the database keeps of a token: SHA-256, since a token has full entropy and needs no slow hash. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

/**
 * The CSRF token of a session: derived from its access token, so that it is bound to the session,
 * nothing is stored, and a page that cannot read the HttpOnly cookie cannot compute it.
 */
export function csrfTokenOf(accessToken: string): string {
  return createHmac('sha256', accessToken).update('holdfast/1/csrf').digest('base64url')
}

/** Compares in a time that does not depend on where the texts differ. */
export function equalSecrets(one: string, other: string): boolean {
  const a = createHash('sha256').update(one).digest()
  const b = createHash('sha256').update(other).digest()
  return timingSafeEqual(a, b)
}
