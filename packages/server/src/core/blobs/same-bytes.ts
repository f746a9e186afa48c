import { free } from '../memory.ts'

/** Compares bytes that arrive with bytes that are there, in flat memory. */
export interface Comparison {
  /** @returns whether everything up to the end of `bytes` is the same */
  add(bytes: Uint8Array): Promise<boolean>
  /** @returns whether all of it came, and nothing else */
  end(): Promise<boolean>
  /** Closes what is compared with; safe at any time. */
  close(): Promise<void>
}

/** @param expected is read no further than it is needed */
export function compareWith(expected: AsyncGenerator<Uint8Array>): Comparison {
  let piece: Uint8Array = new Uint8Array(0)
  let used = 0
  let same = true

  /** Up to `most` bytes of what is expected next; none at its end. Valid until the next call. */
  async function next(most: number): Promise<Uint8Array> {
    while (used === piece.byteLength) {
      const { done, value } = await expected.next()
      if (done) return piece.subarray(used)
      free(piece)
      piece = value
      used = 0
    }
    const taken = piece.subarray(used, used + most)
    used += taken.byteLength
    return taken
  }

  return {
    async add(bytes) {
      let rest = bytes
      while (same && rest.byteLength > 0) {
        const wanted = await next(rest.byteLength)
        const given = rest.subarray(0, wanted.byteLength)
        same = wanted.byteLength > 0 && Buffer.compare(given, wanted) === 0
        rest = rest.subarray(wanted.byteLength)
      }
      return same
    },

    async end() {
      same &&= (await next(1)).byteLength === 0
      return same
    },

    async close() {
      await expected.return(undefined)
    },
  }
}
