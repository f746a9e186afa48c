/** Milliseconds since 1970-01-01T00:00:00Z. Handed in, so that tests own the time. */
export type Clock = () => number

/** A clock that several processes go by. */
export interface SharedClock {
  readonly read: Clock
  /** Sets it again: what machines count differs in the long run. */
  set(): Promise<void>
}

/** An answer that took longer says too little of the time. */
const LONGEST_ANSWER_MS = 1000

/**
 * A clock that is set by one that all processes can ask, so that leases and ends that one process
 * writes down mean the same to the others, whatever the clocks of their machines say.
 *
 * @param ask answers what time it is, in milliseconds since the epoch
 */
export async function followClock(ask: () => Promise<number>): Promise<SharedClock> {
  let offset: number | undefined

  async function set(): Promise<void> {
    const before = performance.now()
    const time = await ask()
    const after = performance.now()
    if (offset !== undefined && after - before > LONGEST_ANSWER_MS) return
    offset = time - (before + after) / 2
  }

  await set()
  return { read: () => Math.round(performance.now() + (offset ?? 0)), set }
}
