import { setTimeout as delay } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import pg from 'pg'
import type { Database, Writer } from '../../core/database.ts'
import { CoreError } from '../../core/errors.ts'
import { putMeta } from '../../core/meta.ts'
import type { Schema } from '../../core/schema.ts'
import { DatabaseError } from './database-error.ts'
import { migrate, SCHEMA_VERSION, schemaVersion } from './migrate.ts'
import { createMutex } from './mutex.ts'
import { postgresNumbering } from './numbering.ts'
import { postgresNameIndex } from './postgres-name-index.ts'
import { type PostgresAccess, poolOver } from './postgres-pool.ts'
import { postgresRequestWindows } from './postgres-request-windows.ts'

const RETRY_DEADLINE_MS = 10_000
/** A server that was not heard of for so long does not run. */
const SILENT_MS = 60_000
const LONGEST_PAUSE_MS = 50
/** Others changed what this transaction has read, or each waits for the other. */
const CONFLICTS = ['40001', '40P01']
/**
 * A row that another one came before, or that others still refer to: this can be a conflict too, with
 * a transaction that was not there yet when this one looked. If not, it comes again.
 */
const POSSIBLE_CONFLICTS = ['23505', '23503']
const POSSIBLE_CONFLICTS_RETRIED = 3

/**
 * Opens the database for the server, which migrates it. A commit is on the disk when `write` settles
 * (`synchronous_commit = on`), and what can be read is too.
 *
 * @param connections at most so many are held
 * @throws DatabaseError
 */
export async function openServerPostgres(
  access: PostgresAccess,
  connections: number,
): Promise<Database> {
  const migrating = poolOver(access, { connections: 2, unhurried: true })
  try {
    await mendable(async () => {
      await refuseBesideOlder(migrating)
      await migrate(migrating)
    })
  } finally {
    await migrating.destroy()
  }
  const database = openPostgres(access, connections)
  try {
    const startedAt = String(Date.now())
    await mendable(() => database.write((writer) => putMeta(writer, 'started_at', startedAt)))
  } catch (error) {
    await database.close()
    throw error
  }
  return database
}

/**
 * Opens the database for a command. Nothing is created or migrated.
 *
 * @throws DatabaseError
 */
export async function openCommandPostgres(access: PostgresAccess): Promise<Database> {
  const database = openPostgres(access, 2)
  try {
    await mendable(() => sql`select 1`.execute(database.read))
  } catch (error) {
    await database.close()
    throw error
  }
  return database
}

/** What time it is by the database's clock, in milliseconds since the epoch. */
export async function postgresTime(reader: Kysely<Schema>): Promise<number> {
  const { rows } = await sql<{ time: number }>`
    select (extract(epoch from clock_timestamp()) * 1000)::bigint as time`.execute(reader)
  return rows[0]?.time ?? Number.NaN
}

/**
 * One transaction during which everybody may read and nobody else may write.
 *
 * @throws DatabaseError
 */
export async function writeAlone<T>(
  access: PostgresAccess,
  work: (writer: Writer) => Promise<T>,
): Promise<T> {
  const pool = poolOver(access, { connections: 1, unhurried: true })
  try {
    return await pool.transaction().execute(async (writer) => {
      await mendable(async () => {
        await sql`set local idle_in_transaction_session_timeout = 0`.execute(writer)
        const tables = await writer.introspection.getTables()
        const names = tables.map((table) => sql.table(`${table.schema}.${table.name}`))
        await sql`lock table ${sql.join(names)} in share mode`.execute(writer)
      })
      return work(writer)
    })
  } finally {
    await pool.destroy()
  }
}

/**
 * Whether one of the servers that share the database has been heard of within a minute.
 *
 * @throws DatabaseError
 */
export async function postgresIsServed(access: PostgresAccess): Promise<boolean> {
  const pool = poolOver(access, { connections: 1 })
  try {
    return await mendable(() => isServed(pool))
  } finally {
    await pool.destroy()
  }
}

async function isServed(pool: Kysely<Schema>): Promise<boolean> {
  if (!(await hasTable(pool, 'server_process'))) return false
  const since = (await postgresTime(pool)) - SILENT_MS
  const heard = await pool
    .selectFrom('server_process')
    .select('id')
    .where('heard_at', '>', since)
    .limit(1)
    .executeTakeFirst()
  return heard !== undefined
}

/** Servers go by the schema that they were started on. */
async function refuseBesideOlder(pool: Kysely<Schema>): Promise<void> {
  const version = await schemaVersion(pool)
  if (version === undefined || version >= SCHEMA_VERSION || !(await isServed(pool))) return
  throw new DatabaseError(
    'servers of an older version work on the database: stop them all before this one changes its schema',
  )
}

async function hasTable(pool: Kysely<Schema>, name: keyof Schema): Promise<boolean> {
  const { rows } = await sql<{ there: boolean }>`
    select to_regclass(${name}) is not null as there`.execute(pool)
  return rows[0]?.there === true
}

/** Who reads waits for nobody who writes: each has half of the connections. */
function openPostgres(access: PostgresAccess, connections: number): Database {
  const half = Math.max(1, Math.floor(connections / 2))
  const read = poolOver(access, { connections: half })
  const writing = poolOver(access, { connections: half, serializable: true })
  const { exclusively } = createMutex()
  return {
    nameIndex: postgresNameIndex,
    numbering: postgresNumbering,
    requestWindows: postgresRequestWindows(read),
    read,
    write: (work) => transact(writing, work, exclusively),
    check: () => invalidIndexes(read),
    async close() {
      await read.destroy()
      await writing.destroy()
    },
  }
}

/** PostgreSQL itself looks at pages as it reads them, and holds references. */
async function invalidIndexes(read: Kysely<Schema>): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select indexrelid::regclass::text as name from pg_index where not indisvalid`.execute(read)
  return rows.map(({ name }) => `the index ${name} is not valid`)
}

/**
 * One transaction, as if it were alone: where others come between, it is run again. Whoever does so
 * waits for those of this process that do too, so that many who want the same rows get on.
 */
async function transact<T>(
  kysely: Kysely<Schema>,
  work: (writer: Writer) => Promise<T>,
  exclusively: (run: () => Promise<T>) => Promise<T>,
): Promise<T> {
  const deadline = Date.now() + RETRY_DEADLINE_MS
  const run = () => kysely.transaction().setIsolationLevel('serializable').execute(work)
  for (let attempt = 1; ; attempt += 1) {
    try {
      return attempt === 1 ? await run() : await exclusively(run)
    } catch (error) {
      if (!mayRetry(error, attempt)) throw error
      if (Date.now() > deadline) {
        throw new CoreError('storage_unavailable', 'too many change the same rows', {
          cause: error,
        })
      }
      await delay(Math.random() * Math.min(2 ** attempt, LONGEST_PAUSE_MS))
    }
  }
}

function mayRetry(error: unknown, attempt: number): boolean {
  if (!(error instanceof pg.DatabaseError) || error.code === undefined) return false
  if (CONFLICTS.includes(error.code)) return true
  return POSSIBLE_CONFLICTS.includes(error.code) && attempt <= POSSIBLE_CONFLICTS_RETRIED
}

/** What the server refuses while a store is opened is for the operator to mend. */
export async function mendable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const cause = error instanceof CoreError ? error.cause : error
    if (cause instanceof DatabaseError) throw cause
    if (cause === error && !(cause instanceof pg.DatabaseError)) throw error
    const { message, code } = cause as { message: string; code?: string }
    throw new DatabaseError(`PostgreSQL cannot be used: ${message || code}`)
  }
}
