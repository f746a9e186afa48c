import { randomUUID } from 'node:crypto'
import type { SharedClock } from '../clock.ts'
import type { Database } from '../database.ts'

/** How often a server says that it is there, in milliseconds. */
export const BEAT_EVERY_MS = 10_000

/** The servers that work on one store at the same time, as this one of them sees them. */
export interface Processes {
  /** Announces this process. */
  join(): Promise<void>
  /** Says that it is there still, and sets its clock. To be called every `BEAT_EVERY_MS`. */
  beat(): Promise<void>
  /** Says that it ends. */
  leave(): Promise<void>
}

export function createProcesses(database: Database, clock: SharedClock): Processes {
  let id: string | undefined

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
  }

  return {
    join,

    async beat() {
      await clock.set()
      const { numUpdatedRows } = await database.write((writer) =>
        writer
          .updateTable('server_process')
          .set({ heard_at: clock.read() })
          .where('id', '=', id ?? '')
          .executeTakeFirst(),
      )
      if (numUpdatedRows === 0n) await join()
    },

    async leave() {
      await database.write((writer) =>
        writer
          .deleteFrom('server_process')
          .where('id', '=', id ?? '')
          .execute(),
      )
    },
  }
}
