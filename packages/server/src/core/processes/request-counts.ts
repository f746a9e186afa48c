import { createHmac } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { RequestWindows } from '../database.ts'
import type { Keyring } from '../keys/keyring.ts'

/** Requests of an address, counted by all servers of the store together. */
export interface RequestCounts {
  /**
   * Counts one.
   *
   * @param windowMs a window begins with the first request after the last one, and lasts so long
   * @returns how many have come in this window, and in how many milliseconds it ends
   */
  count(address: string, windowMs: number): Promise<{ requests: number; leftMs: number }>
  /** Forgets windows that have ended. */
  forgetEnded(): Promise<void>
}

export function createRequestCounts(
  windows: RequestWindows,
  keyring: Keyring,
  clock: Clock,
): RequestCounts {
  return {
    async count(address, windowMs) {
      const now = clock()
      const key = keyring.indexKey('address')
      const index = createHmac('sha256', key).update(`requests|${address}`).digest()
      const { requests, until } = await windows.count(index, windowMs, now)
      return { requests, leftMs: until - now }
    },
    forgetEnded: () => windows.forgetEnded(clock()),
  }
}
