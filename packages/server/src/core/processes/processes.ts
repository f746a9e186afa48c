import { randomUUID } from 'node:crypto'
import type { StagedObjects } from '../blobs/staged.ts'
import type { SharedClock } from '../clock.ts'
import type { Database, Reader, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'

/** How often a server says that it is there, in milliseconds. */
export const BEAT_EVERY_MS = 10_000
/** One that was not heard of for so long is taken for dead, and what it has not finished is refused. */
export const FORGOTTEN_AFTER_MS = 10 * 60_000
/** Names of objects are told to others when their transaction is so long in coming. */
const TOLD_AFTER_MS = 3600 * 1000

/**
 * The servers that work on one store at the same time, as this one of them sees them. Each has a row,
 * and what it writes to the store counts only while that row is there (`requireProcess`). Whoever
 * wants to remove objects that no row names first removes the rows of servers that are silent: from
 * then on nothing of theirs can be named any more. Those that are there have told the names of what
 * they began long ago, and what is younger everybody leaves alone. No clock has to be right by less
 * than many hours for that.
 */
export interface Processes {
  /** Announces this process. */
  join(): Promise<void>
  /**
   * Says that it is there still, and what it has long been writing; sets its clock. To be called every
   * `BEAT_EVERY_MS`.
   *
   * @returns false when it had been taken for dead, and has joined again
   */
  beat(): Promise<boolean>
  /** Says that it ends. */
  leave(): Promise<void>
}

/** The same, and the name under which objects are begun. */
export interface OwnProcess extends Processes {
  readonly id: string | undefined
}

/** @param staged what this process is writing to the store */
export function createProcesses(
  database: Database,
  clock: SharedClock,
  staged: StagedObjects,
): OwnProcess {
  let id: string | undefined
  let told = new Set<string>()

  async function join(): Promise<void> {
    const now = clock.read()
    const joined = randomUUID()
    await database.write((writer) =>
      writer
        .insertInto('server_process')
        .values({ id: joined, started_at: now, heard_at: now })
        .execute(),
    )
    id = joined
    told = new Set()
  }

  async function tell(writer: Writer, processId: string, names: Set<string>): Promise<void> {
    const added = [...names].filter((name) => !told.has(name))
    const ended = [...told].filter((name) => !names.has(name))
    if (added.length > 0) {
      await writer
        .insertInto('staged_object')
        .values(added.map((object) => ({ object, process_id: processId })))
        // Where the answer to an earlier beat was lost they may stand there already.
        .onConflict((conflict) => conflict.column('object').doNothing())
        .execute()
    }
    if (ended.length > 0) {
      await writer.deleteFrom('staged_object').where('object', 'in', ended).execute()
    }
  }

  return {
    get id() {
      return id
    },

    join,

    async beat() {
      await clock.set()
      const processId = id ?? ''
      const names = new Set(staged.begunBefore(clock.read() - TOLD_AFTER_MS, processId))
      const isKnown = await database.write(async (writer) => {
        const { numUpdatedRows } = await writer
          .updateTable('server_process')
          .set({ heard_at: clock.read() })
          .where('id', '=', processId)
          .executeTakeFirst()
        if (numUpdatedRows === 0n) return false
        await tell(writer, processId, names)
        return true
      })
      if (isKnown) told = names
      else await join()
      return isKnown
    },

    leave: () => database.write((writer) => forget(writer, id === undefined ? [] : [id])),
  }
}

/**
 * Makes sure, until the transaction ends, that a server is not taken for dead.
 *
 * @throws CoreError storage_unavailable when it was
 */
export async function requireProcess(writer: Writer, id: string): Promise<void> {
  // Locked: who removes the row waits for this transaction, and then sees what it has written.
  const row = await writer
    .selectFrom('server_process')
    .select('id')
    .where('id', '=', id)
    .forKeyShare()
    .executeTakeFirst()
  if (row) return
  throw new CoreError(
    'storage_unavailable',
    'this server was silent for too long: others took it for dead',
  )
}

/**
 * Removes the rows of servers that are silent, so that nothing that they have begun counts any more.
 *
 * @param now milliseconds since the epoch
 */
export async function forgetSilent(database: Database, now: number): Promise<void> {
  const before = now - FORGOTTEN_AFTER_MS
  const silent = (reader: Reader) =>
    reader.selectFrom('server_process').select('id').where('heard_at', '<', before)
  if (!(await silent(database.read).executeTakeFirst())) return
  await database.write(async (writer) => {
    const rows = await silent(writer).execute()
    await forget(
      writer,
      rows.map(({ id }) => id),
    )
  })
}

async function forget(writer: Writer, ids: readonly string[]): Promise<void> {
  await writer.deleteFrom('staged_object').where('process_id', 'in', ids).execute()
  await writer.deleteFrom('server_process').where('id', 'in', ids).execute()
}
