import type { KeyKind } from '@holdfast/seal'
import type { Clock } from '../clock.ts'
import type { Database, Reader, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import { failpoint } from '../failpoints.ts'
import type { EpochState } from '../schema.ts'
import { type EpochKeyring, type Keyring, KeyringError } from './keyring.ts'
import { epochBytes, SEALED_TABLES, sealedEpoch } from './sealed-tables.ts'

/** How long what was read just before its epoch was dropped can still be opened. */
const FORGET_AFTER_MS = 60_000

export interface EpochRecord {
  readonly number: number
  readonly state: EpochState
  readonly createdAt: number
  /** Of its identity; undefined when its keys are gone. */
  readonly kind: KeyKind | undefined
}

/**
 * The epochs as the database records them: one is current, and everything is sealed to it. A new one
 * is announced first, so that every process has its keys before the first value is sealed to it.
 */
export interface Epochs {
  /** Public half and kind of the root key, which opens the keys of them all. */
  readonly root: EpochKeyring['root']
  /** In ascending order, dropped ones too. */
  list(): Promise<EpochRecord[]>
  /**
   * Takes over what the record says, when a store is opened.
   *
   * @throws KeyringError when keys that may have sealed something are missing
   */
  start(): Promise<void>
  /**
   * Keeps up with the record: loads new epochs, forgets dropped ones. To be called every
   * `FOLLOW_EVERY_MS` in each process.
   *
   * @throws KeyringError for an epoch whose keys are missing or damaged, after all others were loaded
   */
  follow(): Promise<void>
  /**
   * Begins a new epoch, or goes on with one whose beginning was interrupted. For one process at a time.
   *
   * @param pause settles when every process must have looked at the record once
   * @returns its number
   */
  begin(pause: () => Promise<unknown>): Promise<number>
  /**
   * Lets an epoch go that is not current and seals nothing any more, and destroys its keys.
   *
   * @returns whether nothing was left of it
   */
  drop(number: number): Promise<boolean>
  /** Destroys keys of dropped epochs that a crash has left. */
  finishDropping(): Promise<void>
}

/** How often each process looks at the record, in milliseconds. */
export const FOLLOW_EVERY_MS = 1000
/** A pause that covers it, also in a process that is busy. */
export const ANNOUNCED_FOR_MS = 3 * FOLLOW_EVERY_MS

/** @param kind of the identities of new epochs */
export function createEpochs(
  database: Database,
  keyring: EpochKeyring,
  clock: Clock,
  kind: KeyKind,
): Epochs {
  /** When this process first saw that an epoch was dropped. */
  const droppedAt = new Map<number, number>()

  async function list(): Promise<EpochRecord[]> {
    const rows = await database.read.selectFrom('epoch').selectAll().orderBy('number').execute()
    return rows.map(({ number, state, created_at }) => ({
      number,
      state,
      createdAt: created_at,
      kind: keyring.has(number) ? keyring.epoch(number).identity.kind : undefined,
    }))
  }

  function forgetInTime(number: number): void {
    if (!keyring.has(number)) return
    const since = droppedAt.get(number) ?? clock()
    droppedAt.set(number, since)
    if (clock() - since >= FORGET_AFTER_MS) keyring.forget(number)
  }

  async function announced(): Promise<number | undefined> {
    const number = (await list()).find(({ state }) => state === 'announced')?.number
    if (number === undefined) return undefined
    try {
      await keyring.load(number)
      return number
    } catch (error) {
      // It has sealed nothing yet, so that another one can take its place.
      if (error instanceof KeyringError && (await drop(number))) return undefined
      throw error
    }
  }

  async function announce(): Promise<number> {
    const number = 1 + Math.max(...(await list()).map((epoch) => epoch.number))
    const isStored = (await keyring.stored()).includes(number)
    if (!isStored) await keyring.create(number, kind)
    await failpoint('epoch.stored')
    // Read back, as every process will.
    await keyring.load(number)
    await database.write((writer) =>
      writer
        .insertInto('epoch')
        .values({ number, state: 'announced', created_at: clock() })
        .execute(),
    )
    await failpoint('epoch.announced')
    return number
  }

  async function activate(number: number): Promise<void> {
    await database.write(async (writer) => {
      await writer
        .updateTable('epoch')
        .set({ state: 'old' })
        .where('state', '=', 'current')
        .execute()
      await writer
        .updateTable('epoch')
        .set({ state: 'current' })
        .where('number', '=', number)
        .execute()
    })
    keyring.use(number)
  }

  async function drop(number: number): Promise<boolean> {
    const isDropped = await database.write(async (writer) => {
      if (await sealsAnything(writer, number)) return false
      const { numUpdatedRows } = await writer
        .updateTable('epoch')
        .set({ state: 'dropped' })
        .where('number', '=', number)
        .where('state', '!=', 'current')
        .executeTakeFirst()
      return numUpdatedRows === 1n
    })
    // The record is on the disk: from here on nothing sealed to it can become visible.
    if (!isDropped) return false
    await failpoint('epoch.dropped')
    await keyring.remove(number)
    return true
  }

  return {
    root: keyring.root,
    list,

    async start() {
      const epochs = await list()
      for (const { number, state } of epochs) {
        if (state === 'announced' || state === 'dropped') continue
        // One may have begun since the keyring was read.
        await keyring.load(number).catch((error: unknown) => {
          throw new KeyringError(
            `the keys of epoch ${number} are missing: the keyring is older than the database, put back its newest copy`,
            { cause: error },
          )
        })
      }
      for (const { number, state } of epochs) if (state === 'current') keyring.use(number)
      for (const { number, state } of epochs) if (state === 'dropped') keyring.forget(number)
    },

    async follow() {
      let failure: unknown
      for (const { number, state } of await list()) {
        if (state === 'dropped') {
          forgetInTime(number)
          continue
        }
        try {
          await keyring.load(number)
          // Never back: a record that names an older epoch was tampered with.
          if (state === 'current' && number > keyring.current.number) keyring.use(number)
        } catch (error) {
          failure ??= error
        }
      }
      if (failure) throw failure
    },

    async begin(pause) {
      const number = (await announced()) ?? (await announce())
      await pause()
      await activate(number)
      await failpoint('epoch.begun')
      return number
    },

    drop,

    async finishDropping() {
      const stored = await keyring.stored()
      for (const { number, state } of await list()) {
        if (state === 'dropped' && stored.includes(number)) await keyring.remove(number)
      }
    },
  }
}

/**
 * The same database, whose transactions see the keyring at the epoch that the database records: a
 * process that is behind loads it, and the transaction is tried again. What is sealed within a
 * transaction is thus never sealed to an epoch that has ended.
 *
 * Its `write` throws CoreError key_unavailable when the recorded epoch cannot be had.
 */
export function sealingToRecorded(database: Database, keyring: EpochKeyring): Database {
  const currentEpoch = database.read
    .selectFrom('epoch')
    .select('number')
    .where('state', '=', 'current')
    .compile()

  async function catchUp(recorded: number | undefined): Promise<void> {
    if (recorded === undefined || recorded < keyring.current.number) {
      throw new CoreError(
        'key_unavailable',
        `the database records epoch ${recorded ?? 'none'} after epoch ${keyring.current.number}`,
      )
    }
    try {
      await keyring.load(recorded)
    } catch (error) {
      throw new CoreError('key_unavailable', `epoch ${recorded} cannot be loaded`, { cause: error })
    }
    keyring.use(recorded)
  }

  return {
    ...database,
    async write(work) {
      for (;;) {
        const outcome = await database.write(async (writer) => {
          const { rows } = await writer.executeQuery(currentEpoch)
          const recorded = rows[0]?.number
          if (recorded !== keyring.current.number) return { recorded }
          return { result: await work(writer) }
        })
        if ('result' in outcome) return outcome.result
        await catchUp(outcome.recorded)
      }
    },
  }
}

/**
 * Makes sure, until the transaction ends, that bytes that were sealed before it can be opened later.
 *
 * @param number the epoch they are sealed to
 * @throws CoreError key_unavailable when it was dropped meanwhile
 */
export async function requireEpoch(
  writer: Writer,
  keyring: Keyring,
  number: number,
): Promise<void> {
  if (number === keyring.current.number) return
  const epoch = await writer
    .selectFrom('epoch')
    .select('state')
    .where('number', '=', number)
    .executeTakeFirst()
  if (epoch?.state === 'current' || epoch?.state === 'old') return
  throw new CoreError('key_unavailable', `epoch ${number} ended before its bytes were stored`)
}

async function sealsAnything(reader: Reader, number: number): Promise<boolean> {
  const part = await reader
    .selectFrom('blob_part')
    .select('blob_id')
    .where('epoch', '=', number)
    .limit(1)
    .executeTakeFirst()
  if (part) return true
  for (const { name } of SEALED_TABLES) {
    const value = await reader
      .selectFrom(name)
      .select(sealedEpoch.as('epoch'))
      .where(sealedEpoch, '=', epochBytes(number))
      .limit(1)
      .executeTakeFirst()
    if (value) return true
  }
  return false
}
