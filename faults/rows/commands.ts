import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { copyFile, cp, truncate } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { COMMAND, run } from '../../e2e/processes.ts'
import { EXIT_FINDINGS } from '../../packages/server/src/cli/run.ts'
import type { Failpoint } from '../../packages/server/src/core/failpoints.ts'
import { DAY_MS } from '../../packages/server/test/helpers/checks.ts'
import { testFolder } from '../../packages/server/test/helpers/cleanup.ts'
import { filesBelow } from '../../packages/server/test/helpers/store.ts'
import type { Fault } from '../arm.ts'
import { change, litter } from '../litter.ts'
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

const REMOVAL: readonly Failpoint[] = [
  ...(['blob.unlinked', 'object.removed', 'blob.emptied', 'transaction.worked'] as const),
]
/** Stands for a file beside the data folder. */
const NEW_KEY_FILE = '(new key)'
const newKeyFileOf = (data: string) => `${data}.new-key`
/** The number of the account file that is not to stay. */
const REMOVED = 3

/** A command that changes what is stored. */
interface StoreCommand {
  readonly words: readonly string[]
  readonly steps: readonly Failpoint[]
  /** Milliseconds by which its clock is ahead. */
  readonly clock?: number
  /** Gives it something to do, before the server ends or after that. */
  readonly prepare?: (place: PlaceHere) => Promise<void>
  readonly litter?: (data: string) => Promise<void>
  /** What is in the environment afterwards. */
  readonly after?: (data: string) => Record<string, string>
}

const COMMANDS: readonly StoreCommand[] = [
  {
    words: ['keys', 'new-epoch'],
    steps: [...OBJECT, 'epoch.stored', 'epoch.announced', 'transaction.worked', 'epoch.begun'],
  },
  {
    words: ['keys', 'rekey'],
    // No other process has to be told.
    prepare: async ({ server }) => void (await server.core.epochs.begin(async () => undefined)),
    steps: [
      ...(['rekey.noted', ...OBJECT, 'rekey.copied', 'rekey.swapped'] as const),
      ...(['object.removed', 'rekey.columns', 'transaction.worked', 'epoch.dropped'] as const),
    ],
  },
  {
    words: ['keys', 'new-root', '--new-key-file', NEW_KEY_FILE],
    steps: ['new-file.written', 'root.made', ...OBJECT, 'root.both', 'root.marked'],
    after: (data) => ({ HOLDFAST_ROOT_KEY_FILE: newKeyFileOf(data) }),
  },
  {
    words: ['gc'],
    // What lies in the trash goes after a day.
    clock: 2 * DAY_MS,
    litter: (data) => litter(data, REMOVED),
    steps: [...REMOVAL, 'object.trashed', 'trash.removed'],
  },
  {
    words: ['fsck', '--repair'],
    litter: damage,
    steps: [...REMOVAL, 'object.trashed', 'object.restored', 'unfinished.removed'],
  },
]

/** kill -9 of the commands that change what is stored. */
export const commands: readonly Row[] = COMMANDS.map((command) => ({
  step: `holdfast ${command.words.slice(0, 2).join(' ')}`,
  fault: `kill -9 at ${command.steps.join(', ')}`,
  run: (t) => killCommand(t, command),
}))

interface Furnished {
  readonly place: PlaceHere
  /** Those that stay. */
  readonly files: readonly Stored[]
}

async function killCommand(t: RowScope, command: StoreCommand): Promise<number> {
  const furnished = await furnish(t, command)
  let times = 0
  for (const step of command.steps) {
    for (let hit = 1; hit <= MOST_HITS; hit += 1) {
      const data = join(await testFolder(t), 'data')
      await cp(furnished.place.data, data, { recursive: true })
      await cp(`${furnished.place.data}.key`, `${data}.key`)
      const { code, stderr } = await runCommand(command, data, { step, hit })
      if (code !== null) {
        assert.ok(hit > 1, `${step} is never passed`)
        break
      }
      assert.equal(stderr, '')
      times += 1
      try {
        const again = await runCommand(command, data, null)
        assert.ok(again.code === 0 || again.code === EXIT_FINDINGS, again.stderr)
        await assertAll(t, data, command, furnished)
      } catch (error) {
        throw new Error(`after a kill at ${step}, hit ${hit}`, { cause: error })
      }
    }
  }
  return times
}

function runCommand({ words, clock = 0 }: StoreCommand, data: string, kill: Fault | null) {
  const own = words.map((word) => (word === NEW_KEY_FILE ? newKeyFileOf(data) : word))
  return run(process.execPath, ['--import', ARM, COMMAND, ...own, '--json'], {
    ...settingsOf(data),
    FAULTS_ORDER: JSON.stringify({ kill, clock }),
  })
}

/** Files of each kind, and what the command has to do. */
async function furnish(t: RowScope, { prepare, litter }: StoreCommand): Promise<Furnished> {
  const place = await startPlaceHere(t)
  const files: Stored[] = []
  for (const kind of KINDS) {
    files.push(await store(place, kind, SMALL), await store(place, kind, LARGE))
  }
  const [, , account] = KINDS
  if (litter && account) await store(place, account, LARGE)
  await prepare?.(place)
  await place.server.close()
  await litter?.(place.data)
  return { place, files }
}

/** Besides what crashes leave: an object that is cut off while the trash has it whole, and a total that is wrong. */
async function damage(data: string): Promise<void> {
  await litter(data, REMOVED)
  const objects = await filesBelow(join(data, 'blobs'))
  const whole = objects.find((object) => !object.startsWith('zz/')) as string
  const path = join(data, 'blobs', whole)
  await copyFile(path, join(data, 'trash', `${basename(whole)}.${randomUUID()}`))
  await truncate(path, 1000)
  change(data, 'update account_usage set files = files + 1')
}

async function assertAll(
  t: RowScope,
  data: string,
  { after }: StoreCommand,
  { place, files }: Furnished,
): Promise<void> {
  const more = after?.(data) ?? {}
  const server = await startArmed(t, { ...settingsOf(data), ...more }, {})
  await server.logged('swept')
  for (const file of files) await file.check({ ...place, server })
  await server.stop()
  await assertSound(data, more)
}
