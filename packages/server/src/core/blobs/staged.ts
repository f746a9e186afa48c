import type { Clock } from '../clock.ts'
import type { Writer } from '../database.ts'
import { requireProcess } from '../processes/processes.ts'
import type { BlobStore } from './store.ts'

/**
 * Names of objects that this process has begun and whose transaction has not ended: whatever a clock
 * says of their age, no row can name them yet.
 */
export interface StagedObjects {
  has(name: string): boolean
  /** Those that a process of that name has begun before a moment. */
  begunBefore(moment: number, processId: string): string[]
  /**
   * Makes sure, until the transaction ends, that no other process takes these objects for leftovers.
   *
   * @throws CoreError storage_unavailable when one has
   */
  require(writer: Writer, names: readonly string[]): Promise<void>
  /** Their transaction has ended: from now on the rows say what is theirs. */
  settle(names: readonly string[]): void
}

/**
 * A store that remembers what is being written to it, until it is forgotten, removed or settled.
 *
 * @param ownId how other servers of the store know this one just now; undefined where there are none
 */
export function rememberStaged(
  store: BlobStore,
  clock: Clock,
  ownId: () => string | undefined,
): { store: BlobStore; staged: StagedObjects } {
  const begun = new Map<string, { by: string | undefined; at: number }>()

  function settle(settled: readonly string[]): void {
    for (const name of settled) begun.delete(name)
  }

  return {
    staged: {
      has: (name) => begun.has(name),

      begunBefore(moment, processId) {
        const entries = [...begun].filter(([, { by, at }]) => by === processId && at < moment)
        return entries.map(([name]) => name)
      },

      async require(writer, names) {
        for (const id of new Set(names.map((name) => begun.get(name)?.by))) {
          if (id !== undefined) await requireProcess(writer, id)
        }
      },

      settle,
    },
    store: {
      ...store,
      async create(name) {
        begun.set(name, { by: ownId(), at: clock() })
        const writer = await store.create(name).catch((error: unknown) => {
          begun.delete(name)
          throw error
        })
        return {
          ...writer,
          async abort() {
            await writer.abort()
            begun.delete(name)
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
