import pg from 'pg'
import { DatabaseError } from './database-error.ts'
import { mendable } from './postgres.ts'
import { connectAlone, type PostgresAccess } from './postgres-pool.ts'

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

/**
 * Takes a lock of the whole database, that no other process has at the same time.
 *
 * @param waitMs how long to wait for another process that has it
 * @param onLost told when the connection is lost, and with it the lock
 * @returns undefined when another one has it still
 * @throws DatabaseError
 */
export async function lockPostgres(
  access: PostgresAccess,
  name: LockName,
  waitMs: number,
  onLost: (error: Error) => void = () => undefined,
): Promise<PostgresLock | undefined> {
  const client = await mendable(() => connectAlone(access))
  const isTaken = await mendable(() => take(client, name, waitMs)).catch(async (error) => {
    await client.end()
    throw error
  })
  if (!isTaken) {
    await client.end()
    return undefined
  }
  client.once('error', onLost)
  let released: Promise<void> | undefined
  return {
    release() {
      client.off('error', onLost)
      released ??= client.end().catch(() => undefined)
      return released
    },
  }
}

async function take(client: pg.Client, name: LockName, waitMs: number): Promise<boolean> {
  // 0 would wait for ever.
  await client.query("select set_config('lock_timeout', $1, false)", [String(Math.max(1, waitMs))])
  try {
    await client.query('select pg_advisory_lock($1, $2)', [HOLDFAST, NUMBERS[name]])
    return true
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) {
      throw new DatabaseError(`PostgreSQL cannot be used: ${(error as Error).message}`)
    }
    if (error.code === LOCK_NOT_AVAILABLE) return false
    throw error
  }
}
