import {
  HandleEmptyInListsPlugin,
  Kysely,
  type PostgresPool,
  type PostgresPoolClient,
  replaceWithNoncontingentExpression,
} from 'kysely'
import pg from 'pg'
import { CoreError } from '../../core/errors.ts'
import type { Schema } from '../../core/schema.ts'
import { DatabaseError } from './database-error.ts'
import { PortableDialect } from './postgres-dialect.ts'

/** How to get at a PostgreSQL database. */
export interface PostgresAccess {
  /** `postgres://…`, with the password in it. */
  readonly url: string
  /** Whether a server is taken that may lose acknowledged commits. */
  readonly unsafe: boolean
}

const OLDEST_VERSION = 150000
/** For a connection, or for one of the pool to become free. */
const CONNECT_MS = 5000
const STATEMENT_MS = 30_000
const KEEP_ALIVE_MS = 10_000
const END_MS = 3000
/** A server that does not say that time is over is not there any more. */
const ANSWER_MS = STATEMENT_MS + 5000
/** Whoever waits for a row longer than this waits for a process that hangs. */
const LOCK_MS = 10_000
/** A transaction of a process that hangs is ended, so that its locks go. */
const IDLE_IN_TRANSACTION_MS = 60_000

const DISK_FULL = '53100'
/**
 * Classes of SQLSTATE, and codes, of a server that cannot do what it was asked for just now: connections,
 * authorization, resources, operators and shutdown, its own disk; a standby, a lock that is held, a
 * transaction that was ended; a database that is gone.
 */
const UNAVAILABLE = /^(08|28|53|57|58|25006|25P03|55P03|3D000)/

/** 64-bit integers, and sums of them, are numbers: sizes and times stay far below 2^53. */
const types: pg.CustomTypesConfig = {
  getTypeParser(oid, format) {
    if (oid === pg.types.builtins.INT8 || oid === pg.types.builtins.NUMERIC) return Number
    return pg.types.getTypeParser(oid, format)
  },
}

/**
 * Kysely over a pool of connections; `destroy` closes them. A connection that was lost is replaced by
 * a new one at its next use. Errors of the server are those of `pg`, but for the ones that core knows:
 * storage_full, and storage_unavailable for everything that another time may do.
 *
 * @param options.connections at most so many
 * @param options.unhurried for statements that may take as long as they take
 * @param options.serializable for transactions that see conflicts: what is read by index conflicts with
 *   those who write near it, what is read row by row with everybody who writes into the table
 */
export function poolOver(
  access: PostgresAccess,
  options: { connections: number; unhurried?: boolean; serializable?: boolean },
): Kysely<Schema> {
  const pool = new pg.Pool({
    ...connectionOf(access),
    max: options.connections,
    ...(!options.unhurried && { query_timeout: ANSWER_MS }),
    onConnect: (client) => prepare(client, access, options),
  })
  // An idle connection was lost: the pool has dropped it.
  pool.on('error', () => undefined)
  return new Kysely<Schema>({
    dialect: new PortableDialect({ pool: translating(pool) }),
    // SQLite knows that nothing is in an empty list.
    plugins: [new HandleEmptyInListsPlugin({ strategy: replaceWithNoncontingentExpression })],
  })
}

/** A connection of its own, for what lasts as long as it: its owner ends it (`endAlone`). @throws CoreError, DatabaseError */
export async function connectAlone(access: PostgresAccess): Promise<pg.Client> {
  const client = new pg.Client(connectionOf(access))
  try {
    await client.connect()
    await prepare(client, access, { unhurried: true })
    await client.query("select set_config('idle_session_timeout', '0', false)")
    return client
  } catch (error) {
    await endAlone(client)
    throw error instanceof DatabaseError ? error : translated(error)
  }
}

/** Ends such a connection; one on which the server says nothing any more is cut. */
export async function endAlone(client: pg.Client): Promise<void> {
  const cut = setTimeout(() => client.connection.stream.destroy(), END_MS)
  await client.end().catch(() => undefined)
  clearTimeout(cut)
}

/** Where a database is, one text however its address is spelled; nothing secret. */
export function postgresAddress(access: PostgresAccess): string {
  const { host, port, database } = new pg.Client(connectionOf(access))
  // Otherwise it is the folder of a socket.
  const name = host.startsWith('/') ? host : host.toLowerCase()
  return `PostgreSQL at ${name}:${port}/${database}`
}

function connectionOf(access: PostgresAccess): pg.ClientConfig {
  return {
    connectionString: access.url,
    application_name: 'holdfast',
    connectionTimeoutMillis: CONNECT_MS,
    // Whoever waits for a lock, or for what others do, says nothing for long.
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    types,
  }
}

/** Settings that hold whatever those of server, database and role are. @throws DatabaseError */
async function prepare(
  client: pg.ClientBase,
  { unsafe }: PostgresAccess,
  { unhurried = false, serializable = false }: { unhurried?: boolean; serializable?: boolean },
): Promise<void> {
  // Lost while no statement runs: the next one fails.
  client.on('error', () => undefined)
  const { rows } = await client.query<{ version: number; encoding: string; fsync: string }>(
    `select set_config('synchronous_commit', 'on', false),
      set_config('default_transaction_isolation', 'read committed', false),
      set_config('statement_timeout', $1, false),
      set_config('lock_timeout', $2, false),
      set_config('idle_in_transaction_session_timeout', $3, false),
      set_config('enable_seqscan', $4, false),
      current_setting('server_version_num')::int as version,
      current_setting('server_encoding') as encoding,
      current_setting('fsync') as fsync`,
    [
      String(unhurried ? 0 : STATEMENT_MS),
      String(unhurried ? 0 : LOCK_MS),
      String(IDLE_IN_TRANSACTION_MS),
      serializable ? 'off' : 'on',
    ],
  )
  const [{ version, encoding, fsync } = { version: 0, encoding: '', fsync: '' }] = rows
  if (version < OLDEST_VERSION) throw new DatabaseError('PostgreSQL 15 or newer is needed')
  if (encoding !== 'UTF8') {
    throw new DatabaseError(`the database has the encoding ${encoding}: make one with UTF8`)
  }
  if (fsync !== 'on' && !unsafe) {
    throw new DatabaseError(
      'PostgreSQL runs with fsync = off and would lose acknowledged files in a power cut: switch it on (HOLDFAST_UNSAFE_DATABASE=1 takes it as it is)',
    )
  }
}

function translating(pool: pg.Pool): PostgresPool {
  return {
    async connect() {
      try {
        return reserved(await pool.connect())
      } catch (error) {
        throw translated(error)
      }
    },
    end: () => pool.end(),
    options: {},
  }
}

/** A connection for as long as somebody has it. */
function reserved(client: pg.PoolClient): PostgresPoolClient {
  let lost = false
  async function query(text: string, values: readonly unknown[]) {
    try {
      return await client.query(text, values.map(withoutNul))
    } catch (error) {
      // What the driver itself throws leaves the connection in a state that nobody knows.
      lost ||= !(error instanceof pg.DatabaseError)
      throw translated(error)
    }
  }
  return {
    query: query as unknown as PostgresPoolClient['query'],
    release: (destroy) => client.release(lost || destroy === true),
  }
}

/**
 * Text of PostgreSQL cannot have the character NUL in it. Nothing that is stored has; whatever is asked
 * for with it is asked for with a character instead that stands for nothing.
 */
function withoutNul(value: unknown): unknown {
  return typeof value === 'string' ? value.replaceAll('\0', '\u{10ffff}') : value
}

/** What core is told of an error. */
function translated(error: unknown): unknown {
  if (!(error instanceof pg.DatabaseError)) {
    return error instanceof TypeError ? error : unavailable(error)
  }
  const { code = '' } = error
  if (code === DISK_FULL) {
    return new CoreError('storage_full', 'no space left for the database', { cause: error })
  }
  return UNAVAILABLE.test(code) ? unavailable(error) : error
}

function unavailable(cause: unknown): CoreError {
  return new CoreError('storage_unavailable', 'the database does not answer as it should', {
    cause,
  })
}
