import { createHmac } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { equalSecrets } from '../secrets.ts'
import type { Keyring } from './keyring.ts'

const LIFETIME_SECONDS = 15 * 60

/** What makes an address a link that needs no token for a while. */
export interface LinkSeal {
  /** As whom it is followed: what she may not see any more her links do not show either. */
  readonly identityId: string
  /** Seconds since the epoch. */
  readonly expires: number
  readonly signature: string
}

/** Short-lived signed links, for places that send no token: `<img>`, an address that is clicked. */
export interface Links {
  /** @param path of the address, as it will be asked for */
  sign(identityId: string, path: string): LinkSeal
  /** Whether a link was signed for exactly this path and has not expired. */
  verify(path: string, seal: LinkSeal): boolean
}

export function createLinks(keyring: Keyring, clock: Clock): Links {
  const key = keyring.signingKey('link')
  const now = () => Math.floor(clock() / 1000)

  function signatureOf(identityId: string, expires: number, path: string): string {
    const text = `${identityId}\n${expires}\n${path}`
    return createHmac('sha256', key).update(text).digest('base64url')
  }

  return {
    sign(identityId, path) {
      const expires = now() + LIFETIME_SECONDS
      return { identityId, expires, signature: signatureOf(identityId, expires, path) }
    },
    verify(path, { identityId, expires, signature }) {
      return expires > now() && equalSecrets(signature, signatureOf(identityId, expires, path))
    },
  }
}
