import { randomUUID } from 'node:crypto'
import { copyFile, truncate } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Failpoint } from '../../packages/server/src/core/failpoints.ts'
import { DAY_MS } from '../../packages/server/test/helpers/checks.ts'
import { filesBelow } from '../../packages/server/test/helpers/store.ts'
import { killCommand, type StoreCommand } from '../killed-command.ts'
import { change, litter } from '../litter.ts'
import { KINDS, LARGE, store, storeEachKind } from '../operations.ts'
import { type PlaceHere, startPlaceHere } from '../place.ts'
import type { Row, RowScope } from '../row.ts'

const OBJECT: readonly Failpoint[] = [
  ...(['object.created', 'object.written', 'object.synced'] as const),
  ...(['object.renamed', 'object.durable'] as const),
]

const REMOVAL: readonly Failpoint[] = [
  ...(['blob.unlinked', 'object.removed', 'blob.emptied', 'transaction.worked'] as const),
]
const newKeyFileOf = (data: string) => `${data}.new-key`
/** The number of the account file that is not to stay. */
const REMOVED = 3

/** What is killed, and what it finds to do. */
interface KilledCommand extends StoreCommand {
  readonly name: string
  /** Before the server ends. */
  readonly prepare?: (place: PlaceHere) => Promise<void>
  /** After that. */
  readonly litter?: (data: string) => Promise<void>
}

const COMMANDS: readonly KilledCommand[] = [
  {
    name: 'keys new-epoch',
    words: () => ['keys', 'new-epoch'],
    steps: [...OBJECT, 'epoch.stored', 'epoch.announced', 'transaction.worked', 'epoch.begun'],
  },
  {
    name: 'keys rekey',
    words: () => ['keys', 'rekey'],
    // No other process has to be told.
    prepare: async ({ server }) => void (await server.core.epochs.begin(async () => undefined)),
    steps: [
      ...(['rekey.noted', ...OBJECT, 'rekey.copied', 'rekey.swapped'] as const),
      ...(['object.removed', 'rekey.columns', 'transaction.worked', 'epoch.dropped'] as const),
    ],
  },
  {
    name: 'keys new-root',
    words: (data) => ['keys', 'new-root', '--new-key-file', newKeyFileOf(data)],
    steps: ['new-file.written', 'root.made', ...OBJECT, 'root.both', 'root.marked'],
    after: (data) => ({ HOLDFAST_ROOT_KEY_FILE: newKeyFileOf(data) }),
  },
  {
    name: 'gc',
    words: () => ['gc'],
    // What lies in the trash goes after a day.
    clock: 2 * DAY_MS,
    litter: (data) => litter(data, REMOVED),
    steps: [...REMOVAL, 'object.trashed', 'trash.removed'],
  },
  {
    name: 'fsck --repair',
    words: () => ['fsck', '--repair'],
    mayFind: true,
    litter: damage,
    steps: [...REMOVAL, 'object.trashed', 'object.restored', 'unfinished.removed'],
  },
]

/** kill -9 of the commands that change what is stored. */
export const commands: readonly Row[] = COMMANDS.map((command) => ({
  step: `holdfast ${command.name}`,
  fault: `kill -9 at ${command.steps.join(', ')}`,
  run: (t) => killOne(t, command),
}))

/** Files of each kind, and what the command has to do. */
async function killOne(t: RowScope, command: KilledCommand): Promise<number> {
  const place = await startPlaceHere(t)
  const files = await storeEachKind(place)
  const [, , account] = KINDS
  if (command.litter && account) await store(place, account, LARGE)
  await command.prepare?.(place)
  await place.server.close()
  await command.litter?.(place.data)
  return killCommand(t, command, place, files)
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
