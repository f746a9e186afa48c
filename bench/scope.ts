import type { Scope } from '../packages/server/test/helpers/cleanup.ts'

/** Runs a measurement and, however it ends, what it left to its end: the last first. */
export async function inScope<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
  const steps: (() => unknown)[] = []
  try {
    return await work({ after: (step) => void steps.push(step) })
  } finally {
    for (const step of steps.reverse()) await step()
  }
}
