import assert from 'node:assert/strict'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { COMMAND, holdfastJson, refusedStart, run, type Settings } from '../../e2e/processes.ts'
import type { Failpoint } from '../../packages/server/src/core/failpoints.ts'
import { testFolder } from '../../packages/server/test/helpers/cleanup.ts'
import { KINDS, LARGE, type Stored, store } from '../operations.ts'
import { ARM, type PlaceHere, settingsOf, startArmed, startPlaceHere } from '../place.ts'
import type { Row, RowScope } from '../row.ts'
import { assertSound } from '../sound.ts'

/** Later passes of the same step tell nothing new. */
const MOST_HITS = 2
const SMALL = 3000

const BRINGING: readonly Failpoint[] = ['move.rows', 'move.copied', 'move.kept', 'move.retiring']
/** From the first of them on the old place is out of use. */
const HANDING_OVER: readonly Failpoint[] = ['move.retired', 'move.noted', 'move.marked']
const STEPS = [...BRINGING, ...HANDING_OVER]

/** kill -9 of a move from one folder to another: every step of it, whatever the places are. */
export const moves: readonly Row[] = [
  { step: 'holdfast migrate', fault: `kill -9 at ${STEPS.join(', ')}`, run: killMove },
]

async function killMove(t: RowScope): Promise<number> {
  const place = await startPlaceHere(t)
  const files: Stored[] = []
  for (const kind of KINDS) {
    files.push(await store(place, kind, SMALL), await store(place, kind, LARGE))
  }
  await place.server.close()
  let times = 0
  for (const step of STEPS) {
    for (let hit = 1; hit <= MOST_HITS; hit += 1) {
      const folder = await testFolder(t)
      const [from, to] = [join(folder, 'old'), join(folder, 'new')]
      await cp(place.data, from, { recursive: true })
      await cp(`${place.data}.key`, `${from}.key`)
      const moving = { ...settingsOf(from), HOLDFAST_TO_DATA: to }
      const moved = { ...settingsOf(to), HOLDFAST_ROOT_KEY_FILE: `${from}.key` }
      const order = JSON.stringify({ kill: { step, hit } })
      const words = ['--import', ARM, COMMAND, 'migrate', '--json']
      const { code, stderr } = await run(process.execPath, words, {
        ...moving,
        FAULTS_ORDER: order,
      })
      if (code === 0) {
        assert.ok(hit > 1, `${step} is never passed`)
        break
      }
      assert.equal(code, null, stderr)
      times += 1
      try {
        await assertRefused(moved)
        if (HANDING_OVER.includes(step)) await assertRefused(settingsOf(from))
        await holdfastJson(moving, 'migrate')
        await assertAll(t, to, moved, place, files)
      } catch (error) {
        throw new Error(`after a kill at ${step}, hit ${hit}`, { cause: error })
      }
    }
  }
  return times
}

async function assertRefused(settings: Settings): Promise<void> {
  const { code, stderr } = await refusedStart(settings)
  assert.equal(code, 2, `${settings.HOLDFAST_DATA} is served: ${stderr}`)
}

async function assertAll(
  t: RowScope,
  data: string,
  settings: Settings,
  place: PlaceHere,
  files: readonly Stored[],
): Promise<void> {
  const server = await startArmed(t, settings, {})
  await server.logged('swept')
  for (const file of files) await file.check({ ...place, server })
  await server.stop()
  await assertSound(data, settings)
}
