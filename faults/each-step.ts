import assert from 'node:assert/strict'
import type { Failpoint } from '../packages/server/src/core/failpoints.ts'
import type { Fault } from './arm.ts'

/**
 * Kills something at each of its steps, and again at later passes of the same step.
 *
 * @param mostHits passes of one step; later ones tell nothing new
 * @param killAt kills it and holds what is left against what is promised; answers false when it was over
 *   before the step was hit so often
 * @returns how many times it was killed
 */
export async function killAtEachStep(
  steps: readonly Failpoint[],
  mostHits: number,
  killAt: (kill: Fault) => Promise<boolean>,
): Promise<number> {
  let times = 0
  for (const step of steps) {
    for (let hit = 1; hit <= mostHits; hit += 1) {
      const wasKilled = await killAt({ step, hit }).catch((cause) => {
        throw new Error(`a kill at ${step}, hit ${hit}`, { cause })
      })
      if (!wasKilled) {
        assert.ok(hit > 1, `${step} is never passed`)
        break
      }
      times += 1
    }
  }
  return times
}
