/**
 * Pages of rows up to the first that is not full.
 *
 * @param load rows behind the last one of the page before
 */
export async function* pages<T>(
  size: number,
  load: (after: T | undefined) => Promise<T[]>,
): AsyncGenerator<T[]> {
  for (let last: T | undefined; ; ) {
    const page = await load(last)
    if (page.length > 0) yield page
    if (page.length < size) return
    last = page.at(-1)
  }
}

/**
 * Runs work on all items, `lanes` at a time; answers in their order. After a failure no further work
 * begins, and what had begun has ended when it is thrown.
 */
export async function inLanes<T, R>(
  items: readonly T[],
  lanes: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const waiting = items.entries()
  const failures: unknown[] = []
  async function lane(): Promise<void> {
    for (const [index, item] of waiting) {
      try {
        results[index] = await work(item)
      } catch (error) {
        failures.push(error)
      }
      if (failures.length > 0) return
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  if (failures.length > 0) throw failures[0]
  return results
}

/** What comes, some at a time. @param size of all batches but the last, which may be smaller */
export async function* inBatches<T>(
  source: AsyncIterable<T> | Iterable<T>,
  size: number,
): AsyncGenerator<T[]> {
  let batch: T[] = []
  for await (const entry of source) {
    batch.push(entry)
    if (batch.length < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
