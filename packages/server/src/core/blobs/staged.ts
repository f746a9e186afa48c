import type { BlobStore } from './store.ts'

/**
 * Names of objects that this process has begun and whose transaction has not ended: whatever a clock
 * says of their age, no row can name them yet.
 */
export interface StagedObjects {
  has(name: string): boolean
  /** Their transaction has ended: from now on the rows say what is theirs. */
  settle(names: readonly string[]): void
}

/** A store that remembers what is being written to it, until it is forgotten, removed or settled. */
export function rememberStaged(store: BlobStore): { store: BlobStore; staged: StagedObjects } {
  const names = new Set<string>()

  function settle(settled: readonly string[]): void {
    for (const name of settled) names.delete(name)
  }

  return {
    staged: { has: (name) => names.has(name), settle },
    store: {
      ...store,
      async create(name) {
        names.add(name)
        const writer = await store.create(name).catch((error: unknown) => {
          names.delete(name)
          throw error
        })
        return {
          ...writer,
          async abort() {
            await writer.abort()
            names.delete(name)
          },
        }
      },
      async remove(removed) {
        await store.remove(removed)
        settle(removed)
      },
    },
  }
}
