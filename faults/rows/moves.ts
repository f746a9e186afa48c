import assert from 'node:assert/strict'
import { refusedStart, type Settings } from '../../e2e/processes.ts'
import type { Failpoint } from '../../packages/server/src/core/failpoints.ts'
import { killCommand, type StoreCommand } from '../killed-command.ts'
import { storeEachKind } from '../operations.ts'
import { settingsOf, startPlaceHere } from '../place.ts'
import type { Row, RowScope } from '../row.ts'

const BRINGING: readonly Failpoint[] = ['move.rows', 'move.copied', 'move.kept', 'move.retiring']
/** From the first of them on the old place is out of use. */
const HANDING_OVER: readonly Failpoint[] = ['move.retired', 'move.noted', 'move.marked']

const MIGRATE: StoreCommand = {
  words: () => ['migrate'],
  steps: [...BRINGING, ...HANDING_OVER],
  settings: (data) => ({ HOLDFAST_TO_DATA: newPlaceOf(data) }),
  async assertKilled(data, step) {
    await assertRefused(movedSettings(data))
    if (HANDING_OVER.includes(step)) await assertRefused(settingsOf(data))
  },
  after: movedSettings,
}

/** kill -9 of a move from one folder to another: every step of it, whatever the places are. */
export const moves: readonly Row[] = [
  { step: 'holdfast migrate', fault: `kill -9 at ${MIGRATE.steps.join(', ')}`, run: killMove },
]

async function killMove(t: RowScope): Promise<number> {
  const place = await startPlaceHere(t)
  const files = await storeEachKind(place)
  await place.server.close()
  return killCommand(t, MIGRATE, place, files)
}

function newPlaceOf(data: string): string {
  return `${data}.new`
}

function movedSettings(data: string): Settings {
  return { ...settingsOf(newPlaceOf(data)), HOLDFAST_ROOT_KEY_FILE: `${data}.key` }
}

async function assertRefused(settings: Settings): Promise<void> {
  const { code, stderr } = await refusedStart(settings)
  assert.equal(code, 2, `${settings.HOLDFAST_DATA} is served: ${stderr}`)
}
