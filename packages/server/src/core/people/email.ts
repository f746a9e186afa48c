import { createHmac, type KeyObject } from 'node:crypto'
import { domainToASCII } from 'node:url'
import { CoreError } from '../errors.ts'

/** The domain has nothing at which `domainToASCII` would stop reading or begin to decode. */
const SHAPE = /^[^\s@]{1,64}@[^\s@/\\?#:%[\]]{1,253}$/u

/**
 * The form in which addresses are compared: trimmed, NFC, lower case, the domain in ASCII. Dots and
 * plus signs are kept: they tell people apart at some providers.
 *
 * @throws CoreError email_malformed
 */
export function canonicalEmail(address: string): string {
  const text = address.trim().normalize('NFC').toLowerCase()
  const at = text.lastIndexOf('@')
  const domain = domainToASCII(text.slice(at + 1))
  if (!SHAPE.test(text) || domain === '') {
    throw new CoreError('email_malformed', 'this is no e-mail address')
  }
  return `${text.slice(0, at)}@${domain}`
}

/** Equality of addresses without their text: a keyed hash of the canonical form. */
export function emailIndex(key: KeyObject, address: string): Buffer {
  return createHmac('sha256', key).update(canonicalEmail(address)).digest()
}
