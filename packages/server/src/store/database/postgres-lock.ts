import pg from 'pg'
import { DatabaseError } from './database-error.ts'
import { mendable } from './postgres.ts'
import { connectAlone, endAlone, type PostgresAccess } from './postgres-pool.ts'

/** What can be locked of a store: its start, and the keys. */
export type LockName = 'start' | 'keys'

/** Numbers of advisory locks, which all programs of a database share: "hold", and which one. */
const HOLDFAST = 0x686f6c64
const NUMBERS: Record<LockName, number> = { start: 1, keys: 2 }
const LOCK_NOT_AVAILABLE = '55P03'

/** A lock that lasts as long as its connection. */
export interface PostgresLock {
  /** Safe to repeat. */
  release(): Promise<void>
}

export interface LockOptions {
  /** How long to wait for another process that has it. */
  readonly waitMs: number
  /** Told when that wait begins. */
  readonly onWait?: (() => void) | undefined
  /** Told when the connection is lost, and with it the lock. */
  readonly onLost?: ((error: Error) => void) | undefined
}

/**
 * Takes a lock of the whole database, that no other process has at the same time.
 *
 * @returns undefined when another one has it still
 * @throws DatabaseError
 */
export async function lockPostgres(
  access: PostgresAccess,
  name: LockName,
  { waitMs, onWait = () => undefined, onLost = () => undefined }: LockOptions,
): Promise<PostgresLock | undefined> {
  const client = await mendable(() => connectAlone(access))
  const isTaken = await mendable(() => take(client, name, waitMs, onWait)).catch(async (error) => {
    await endAlone(client)
    throw error
  })
  if (!isTaken) {
    await endAlone(client)
    return undefined
  }
  client.once('error', onLost)
  let released: Promise<void> | undefined
  return {
    release() {
      client.off('error', onLost)
      released ??= endAlone(client)
      return released
    },
  }
}

async function take(
  client: pg.Client,
  name: LockName,
  waitMs: number,
  onWait: () => void,
): Promise<boolean> {
  const lock = [HOLDFAST, NUMBERS[name]]
  // 0 would wait for ever.
  await client.query("select set_config('lock_timeout', $1, false)", [String(Math.max(1, waitMs))])
  try {
    const { rows } = await client.query<{ taken: boolean }>(
      'select pg_try_advisory_lock($1, $2) as taken',
      lock,
    )
    if (rows[0]?.taken) return true
    onWait()
    await client.query('select pg_advisory_lock($1, $2)', lock)
    return true
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) {
      throw new DatabaseError(`PostgreSQL cannot be used: ${(error as Error).message}`)
    }
    if (error.code === LOCK_NOT_AVAILABLE) return false
    throw error
  }
}
