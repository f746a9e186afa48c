/** Runs a piece of work in the background, then rests, so that others get at the disk. */
export type Pace = <T>(work: () => Promise<T>) => Promise<T>

const LEAST_REST_MS = 5
/** Of five units of time, work takes one. */
const REST_PER_WORK = 4

/** @param pause settles after so many milliseconds */
export function createPace(pause: (milliseconds: number) => Promise<unknown>): Pace {
  return async (work) => {
    const begun = performance.now()
    const result = await work()
    await pause(Math.max(LEAST_REST_MS, REST_PER_WORK * (performance.now() - begun)))
    return result
  }
}
