/** Runs asynchronous work one at a time, in the order of the calls. */
export function createMutex(): { exclusively<T>(work: () => Promise<T>): Promise<T> } {
  let last: Promise<unknown> = Promise.resolve()
  return {
    exclusively(work) {
      const result = last.then(work)
      last = result.catch(() => undefined)
      return result
    },
  }
}
