/** From the text of a key to a key, whatever its kind. */
import { HybridIdentity, HybridRecipient } from './hybrid.ts'
import type { Identity, KeyKind, Recipient } from './recipient.ts'
import { X25519Identity, X25519Recipient } from './x25519.ts'

/** A new identity, from the platform's random bytes. */
export function generateIdentity(kind: KeyKind): Identity {
  return kind === 'hybrid' ? HybridIdentity.generate() : X25519Identity.generate()
}

/**
 * An identity from its text: `AGE-SECRET-KEY-1…` or `AGE-SECRET-KEY-PQ-1…`, without any blank.
 *
 * @throws SealError `key_malformed`
 */
export function parseIdentity(text: string): Identity {
  return text.startsWith('AGE-SECRET-KEY-PQ-1')
    ? HybridIdentity.parse(text)
    : X25519Identity.parse(text)
}

/**
 * A recipient from its text: `age1…` or `age1pq1…`, without any blank.
 *
 * @throws SealError `key_malformed`
 */
export function parseRecipient(text: string): Recipient {
  return text.startsWith('age1pq1') ? HybridRecipient.parse(text) : X25519Recipient.parse(text)
}
