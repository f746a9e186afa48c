import { type Kysely, sql } from 'kysely'
import type { RequestWindows } from '../../core/database.ts'
import type { Schema } from '../../core/schema.ts'

/**
 * Windows of requests in a table that is not logged: a statement waits for no disk.
 *
 * @param pool on which statements wait for each other, rather than being run again
 */
export function postgresRequestWindows(pool: Kysely<Schema>): RequestWindows {
  return {
    async count(address, windowMs, now) {
      const hasEnded = sql<boolean>`request_window.until <= ${now}`
      return pool
        .insertInto('request_window')
        .values({ address_index: address, requests: 1, until: now + windowMs })
        .onConflict((conflict) =>
          conflict.column('address_index').doUpdateSet({
            requests: sql`case when ${hasEnded} then 1 else request_window.requests + 1 end`,
            until: sql`case when ${hasEnded} then excluded.until else request_window.until end`,
          }),
        )
        .returning(['requests', 'until'])
        .executeTakeFirstOrThrow()
    },

    async forgetEnded(now) {
      await pool.deleteFrom('request_window').where('until', '<=', now).execute()
    },
  }
}
