import { type Memory, memoryOf, processTrees, type TreeOf } from './processes.ts'

const EVERY_MS = 1000

/** The most that was seen, in bytes. */
export interface Peaks {
  /** Of all processes together, each page counted once. */
  readonly total: number
  /** Of each kind: how many processes, what they had together, and the largest of them alone. */
  readonly kinds: ReadonlyMap<string, { count: number; together: number; resident: number }>
}

/**
 * Looks once a second at what processes take while work is done.
 *
 * @param pidsOf those of today, by kind
 */
export async function watchingMemory<T>(
  pidsOf: (treeOf: TreeOf) => Record<string, readonly number[]>,
  work: () => Promise<T>,
): Promise<{ result: T; peaks: Peaks }> {
  const kinds = new Map<string, { count: number; together: number; resident: number }>()
  let total = 0

  function look(): void {
    const sums = Object.entries(pidsOf(processTrees())).map(([kind, pids]) => {
      const memories = pids.map(memoryOf)
      const together = sum(memories)
      const before = kinds.get(kind) ?? { count: 0, together: 0, resident: 0 }
      kinds.set(kind, {
        count: Math.max(before.count, memories.length),
        together: Math.max(before.together, together),
        resident: Math.max(before.resident, ...memories.map(({ resident }) => resident)),
      })
      return together
    })
    total = Math.max(
      total,
      sums.reduce((all, one) => all + one, 0),
    )
  }

  const timer = setInterval(look, EVERY_MS)
  try {
    const result = await work()
    look()
    return { result, peaks: { total, kinds } }
  } finally {
    clearInterval(timer)
  }
}

function sum(memories: readonly Memory[]): number {
  return memories.reduce((all, { share }) => all + share, 0)
}
