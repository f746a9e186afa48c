import { statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type { Database, Writer } from '../../core/database.ts'
import { CoreError } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoints.ts'
import type { Schema } from '../../core/schema.ts'
import { startCheckpointer } from './checkpointer.ts'
import { createCommitGroups } from './commit-groups.ts'
import { openLogSync } from './log-sync.ts'
import { createMutex } from './mutex.ts'
import { kyselyOver } from './node-sqlite.ts'
import { sqliteNumbering } from './numbering.ts'
import { sqliteNameIndex } from './sqlite-name-index.ts'

/** Before 3.51.3 a checkpoint beside a writer on another connection could corrupt the database. */
const OLDEST_SQLITE = [3, 51, 3] as const
/** How long the event loop may stand still for a command that is writing. The rest is waited asynchronously. */
const SERVER_BUSY_MS = 2
const COMMAND_BUSY_MS = 10_000
const BUSY_DEADLINE_MS = 10_000

const SQLITE_BUSY = 5
const SQLITE_FULL = 13
/** The file cannot be written, read or opened any more: READONLY, IOERR, CANTOPEN. */
const SQLITE_UNAVAILABLE = [8, 10, 14]

/**
 * Opens the database for the server: the one process that migrates it and keeps it open. The caller
 * holds the folder's lock. Never open the database file, its `-shm` or the lock file through `fs`
 * in this process: closing such a descriptor drops SQLite's locks.
 *
 * @param onFailure told of failures that leave this process unable to promise durability
 */
export async function openServerDatabase(
  file: string,
  migrate: (database: Kysely<Schema>) => Promise<void>,
  onFailure: (error: Error) => void,
): Promise<Database> {
  // A command may be writing just now. Nothing is served yet: waiting for it holds up nobody.
  const connection = openConnection(file, COMMAND_BUSY_MS)
  connection.exec('pragma auto_vacuum = incremental')
  connection.exec('pragma journal_mode = wal')
  // The answer waits for `LogSync`, so the commit itself need not.
  connection.exec('pragma synchronous = normal')
  connection.exec('pragma wal_autocheckpoint = 0')
  const kysely = await kyselyOver(connection)
  await inOneTransaction(connection, () => migrate(kysely))
  await failpoint('start.migrated')
  // Rows that a killed process committed but did not sync are visible; make them durable before anybody relies on them.
  connection.exec('pragma wal_checkpoint(truncate)')
  // The first write of a connection creates the log; it then stays in place until the last connection closes.
  connection.exec(`insert into meta (key, value) values ('started_at', '${Date.now()}')
    on conflict (key) do update set value = excluded.value`)
  connection.exec(`pragma busy_timeout = ${SERVER_BUSY_MS}`)

  const log = await openLogSync(`${file}-wal`)
  await log.synced()
  await failpoint('start.checkpointed')
  const mutex = createMutex()
  const groups = createCommitGroups((work) => transact(kysely, work), mutex.exclusively)
  const checkpointer = await startCheckpointer(file, mutex.exclusively, onFailure)
  const readConnection = openConnection(file, SERVER_BUSY_MS, { readOnly: true })
  const read = await kyselyOver(readConnection)

  let broken: CoreError | undefined

  async function synced(): Promise<void> {
    try {
      await log.synced()
    } catch (error) {
      if (!broken) onFailure(error as Error)
      broken ??= new CoreError('storage_unavailable', 'the database log cannot be synced', {
        cause: error,
      })
      throw broken
    }
  }

  return {
    nameIndex: sqliteNameIndex,
    numbering: sqliteNumbering,
    read,
    async write(work) {
      if (broken) throw broken
      try {
        const result = await groups.write(work)
        await failpoint('transaction.committed')
        return result
      } finally {
        checkpointer.written()
        await synced()
        await failpoint('transaction.durable')
      }
    },
    check: async () => checkConnection(readConnection),
    async close() {
      await checkpointer.close()
      await log.close()
      await read.destroy()
      await kysely.destroy()
    },
  }
}

/**
 * Opens the database beside a running server or without one, for a command. Every commit syncs by itself.
 * Nothing is created or migrated: the caller has checked that the folder is there.
 */
export async function openCommandDatabase(file: string): Promise<Database> {
  const connection = openConnection(file, COMMAND_BUSY_MS)
  connection.exec('pragma synchronous = full')
  const kysely = await kyselyOver(connection)
  return {
    nameIndex: sqliteNameIndex,
    numbering: sqliteNumbering,
    read: kysely,
    write: (work) => transact(kysely, work),
    check: async () => checkConnection(connection),
    close: () => kysely.destroy(),
  }
}

/** Kysely migrates SQLite without a transaction: a crash in between would leave half a schema. */
async function inOneTransaction(
  connection: DatabaseSync,
  work: () => Promise<void>,
): Promise<void> {
  connection.exec('begin immediate')
  try {
    await work()
    connection.exec('commit')
  } catch (error) {
    if (connection.isTransaction) connection.exec('rollback')
    throw error
  }
}

function openConnection(
  file: string,
  busyMs: number,
  options: { readOnly?: boolean } = {},
): DatabaseSync {
  const connection = new DatabaseSync(file, {
    timeout: busyMs,
    enableForeignKeyConstraints: true,
    ...options,
  })
  refuseOldSqlite(connection)
  return connection
}

/** Holds up the process meanwhile: for commands. */
function checkConnection(connection: DatabaseSync): string[] {
  const damage = connection.prepare('pragma quick_check').all() as { quick_check: string }[]
  const broken = connection.prepare('pragma foreign_key_check').all() as {
    table: string
    rowid: number
    parent: string
  }[]
  return [
    ...damage.map((row) => row.quick_check).filter((text) => text !== 'ok'),
    // What refers to blobs is looked at with the blobs.
    ...broken
      .filter(({ parent }) => parent !== 'blob')
      .map((row) => `row ${row.rowid} of ${row.table} names a ${row.parent} that is not there`),
  ]
}

function refuseOldSqlite(connection: DatabaseSync): void {
  const { version } = connection.prepare('select sqlite_version() as version').get() as {
    version: string
  }
  const parts = version.split('.').map(Number)
  for (const [place, least] of OLDEST_SQLITE.entries()) {
    const part = parts[place] ?? 0
    if (part > least) return
    if (part < least) throw new Error(`SQLite ${version} is too old: 3.51.3 or newer is needed`)
  }
}

/** One transaction, tried again while another process holds the write lock. */
async function transact<T>(
  kysely: Kysely<Schema>,
  work: (writer: Writer) => Promise<T>,
): Promise<T> {
  const deadline = Date.now() + BUSY_DEADLINE_MS
  for (let wait = 1; ; wait = Math.min(wait * 2, 50)) {
    try {
      return await kysely.transaction().execute(async (writer) => {
        const result = await work(writer)
        await failpoint('transaction.worked')
        return result
      })
    } catch (error) {
      const code = sqliteCode(error)
      if (code === SQLITE_FULL) {
        throw new CoreError('storage_full', 'no space left for the database', { cause: error })
      }
      if (code !== undefined && SQLITE_UNAVAILABLE.includes(code)) {
        throw new CoreError('storage_unavailable', 'the disk of the database fails', {
          cause: error,
        })
      }
      if (code !== SQLITE_BUSY) throw error
      if (Date.now() > deadline) {
        throw new CoreError('storage_unavailable', 'another process keeps the database locked', {
          cause: error,
        })
      }
      await delay(wait)
    }
  }
}

/** The primary result code of an SQLite error, or undefined for any other error. */
function sqliteCode(error: unknown): number | undefined {
  const code = (error as { errcode?: number }).errcode
  return code === undefined ? undefined : code & 0xff
}

/** Whether the file is there, without opening it (see above). */
export function databaseExists(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false }) !== undefined
}
