import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Database } from '../database.ts'

/** How long a process that has the lease may be silent before another one takes it. */
export const LEASE_MS = 30_000
/** How often each process takes or renews it. */
export const RENEW_EVERY_MS = 10_000

/** Work that one process of a store does at a time. */
export interface Lease {
  /**
   * Takes it if nobody has it, or puts its end off if this process has. To be called every
   * `RENEW_EVERY_MS`.
   */
  take(): Promise<void>
  /** Whether this process has it just now. */
  isHeld(): boolean
  /** Lets another process take it at once. */
  giveBack(): Promise<void>
}

/** @param clock that all processes go by */
export function createLease(database: Database, clock: Clock, name: string): Lease {
  const holder = randomUUID()
  let until = 0

  return {
    async take() {
      const end = clock() + LEASE_MS
      const isTaken = await database.write(async (writer) => {
        const row = await writer
          .selectFrom('lease')
          .selectAll()
          .where('name', '=', name)
          .executeTakeFirst()
        if (row && row.holder !== holder && row.until > clock()) return false
        await writer
          .insertInto('lease')
          .values({ name, holder, until: end })
          .onConflict((conflict) => conflict.column('name').doUpdateSet({ holder, until: end }))
          .execute()
        return true
      })
      until = isTaken ? end : 0
    },

    isHeld: () => clock() < until,

    async giveBack() {
      until = 0
      await database.write((writer) =>
        writer.deleteFrom('lease').where('name', '=', name).where('holder', '=', holder).execute(),
      )
    },
  }
}
