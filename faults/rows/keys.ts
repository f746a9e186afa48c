import assert from 'node:assert/strict'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { COMMAND, holdfastJson, run } from '../../e2e/processes.ts'
import type { Failpoint } from '../../packages/server/src/core/failpoints.ts'
import { testFolder } from '../../packages/server/test/helpers/cleanup.ts'
import { KINDS, LARGE, type Stored, store } from '../operations.ts'
import { ARM, type PlaceHere, settingsOf, startArmed, startPlaceHere } from '../place.ts'
import type { Row, RowScope } from '../row.ts'
import { assertSound } from '../sound.ts'

/** Later passes of the same step tell nothing new. */
const MOST_HITS = 2
const SMALL = 3000
const OBJECT: readonly Failpoint[] = [
  ...(['object.created', 'object.written', 'object.synced'] as const),
  ...(['object.renamed', 'object.durable'] as const),
]

/** A command that changes keys. */
interface KeyCommand {
  readonly word: string
  readonly steps: readonly Failpoint[]
}

const COMMANDS: readonly KeyCommand[] = [
  {
    word: 'new-epoch',
    steps: [...OBJECT, 'epoch.stored', 'epoch.announced', 'transaction.worked', 'epoch.begun'],
  },
  {
    word: 'rekey',
    steps: [
      ...(['rekey.noted', ...OBJECT, 'rekey.copied', 'rekey.swapped'] as const),
      ...(['object.removed', 'rekey.columns', 'transaction.worked', 'epoch.dropped'] as const),
    ],
  },
  {
    word: 'new-root',
    steps: ['new-file.written', 'root.made', ...OBJECT, 'root.both', 'root.marked'],
  },
]

/** kill -9 of the commands that change keys. */
export const keys: readonly Row[] = COMMANDS.map((command) => ({
  step: `holdfast keys ${command.word}`,
  fault: `kill -9 at ${command.steps.join(', ')}`,
  run: (t) => killCommand(t, command),
}))

interface Furnished {
  readonly place: PlaceHere
  readonly files: readonly Stored[]
}

async function killCommand(t: RowScope, { word, steps }: KeyCommand): Promise<number> {
  const furnished = await furnish(t, word === 'rekey')
  let times = 0
  for (const step of steps) {
    for (let hit = 1; hit <= MOST_HITS; hit += 1) {
      const data = join(await testFolder(t), 'data')
      await cp(furnished.place.data, data, { recursive: true })
      await cp(`${furnished.place.data}.key`, `${data}.key`)
      const words = wordsOf(word, data)
      const order = JSON.stringify({ kill: { step, hit } })
      const settings = settingsOf(data)
      const { code, stderr } = await run(
        process.execPath,
        ['--import', ARM, COMMAND, 'keys', ...words, '--json'],
        { ...settings, FAULTS_ORDER: order },
      )
      if (code === 0) {
        assert.ok(hit > 1, `${step} is never passed`)
        break
      }
      assert.equal(code, null, stderr)
      times += 1
      try {
        await holdfastJson(settings, 'keys', ...words)
        await assertAll(t, data, word, furnished)
      } catch (error) {
        throw new Error(`after a kill at ${step}, hit ${hit}`, { cause: error })
      }
    }
  }
  return times
}

/** Files of each kind; the epoch that sealed them is over when `isOver`. */
async function furnish(t: RowScope, isOver: boolean): Promise<Furnished> {
  const place = await startPlaceHere(t)
  const files: Stored[] = []
  for (const kind of KINDS) {
    files.push(await store(place, kind, SMALL), await store(place, kind, LARGE))
  }
  // No other process has to be told.
  if (isOver) await place.server.core.epochs.begin(async () => undefined)
  await place.server.close()
  return { place, files }
}

function wordsOf(word: string, data: string): string[] {
  return word === 'new-root' ? [word, '--new-key-file', `${data}.new-key`] : [word]
}

async function assertAll(
  t: RowScope,
  data: string,
  word: string,
  { place, files }: Furnished,
): Promise<void> {
  const key: Record<string, string> =
    word === 'new-root' ? { HOLDFAST_ROOT_KEY_FILE: `${data}.new-key` } : {}
  const server = await startArmed(t, { ...settingsOf(data), ...key }, {})
  await server.logged('swept')
  for (const file of files) await file.check({ ...place, server })
  await server.stop()
  await assertSound(data, key)
}
