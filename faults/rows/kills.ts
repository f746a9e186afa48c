import assert from 'node:assert/strict'
import { eventually } from '../../e2e/processes.ts'
import type { Fault } from '../arm.ts'
import { killAtEachStep } from '../each-step.ts'
import { assertStatus, isAcknowledged, OPERATIONS, type Operation } from '../operations.ts'
import { type PlaceApart, startPlaceApart } from '../place.ts'
import type { Row, RowScope } from '../row.ts'
import { assertSound } from '../sound.ts'

const MOST_HITS = 6
/** Steps of work that may go on beside any request. */
const BACKGROUND = /^(sweep\.|records\.|upload\.)/

/** kill -9 at every step of every request, each time the step is passed. */
export const kills: readonly Row[] = OPERATIONS.map((operation) => ({
  step: operation.name,
  fault: `kill -9 at ${operation.steps.join(', ')}`,
  run: (t) => killEverywhere(t, operation),
}))

async function killEverywhere(t: RowScope, operation: Operation): Promise<number> {
  const place = await startPlaceApart(t)
  await place.server.logged('swept')
  await assertSteps(place, operation)
  return killAtEachStep(operation.steps, MOST_HITS, (kill) => wasKilledAt(place, operation, kill))
}

/** Without any fault: the request is acknowledged, and passes the steps that are said, no others. */
async function assertSteps(place: PlaceApart, operation: Operation): Promise<void> {
  const attempt = await operation.begin(place)
  await place.order({})
  const answer = await attempt.send()
  const { passed } = await place.order({})
  assert.ok(answer.status < 300, `${answer.status} ${answer.bytes}`)
  const own = new Set(passed.filter((step) => !BACKGROUND.test(step)))
  assert.deepEqual([...own].sort(), [...operation.steps].sort())
  await attempt.check(true)
  await attempt.finish?.()
}

/** @returns false when the request was over before the step was hit so often */
async function wasKilledAt(place: PlaceApart, operation: Operation, kill: Fault): Promise<boolean> {
  const attempt = await operation.begin(place)
  await place.order({ kill })
  const acknowledged = await attempt.send().then(isAcknowledged, () => false)
  if (acknowledged && (await isAlive(place))) {
    await attempt.finish?.()
    return false
  }
  await eventually(
    `it ends at ${kill.step}`,
    10_000,
    () => place.server.child.signalCode ?? undefined,
  )
  await place.server.ended
  await place.startAgain()
  await place.server.logged('swept')
  await attempt.check(acknowledged)
  if (!acknowledged) {
    const again = await attempt.send()
    if (!isAcknowledged(again)) assertStatus(200, again)
    await attempt.check(true)
  }
  await attempt.finish?.()
  await assertSound(place.data)
  return true
}

async function isAlive(place: PlaceApart): Promise<boolean> {
  return place.order({ kill: null }).then(
    () => true,
    () => false,
  )
}
