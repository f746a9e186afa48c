import { type RawBuilder, sql } from 'kysely'
import { VISIBLE_EVENTS } from '../boxes/events.ts'
import type { Database, Reader } from '../database.ts'
import type { Finding } from './findings.ts'

/** A stored total that rows of another table add up to. */
interface Total {
  readonly table: string
  readonly text: string
  /** Selects `id` of the rows that have drifted. */
  readonly drifted: RawBuilder<{ id: string }>
  /** Computes it anew, from the rows at that moment. */
  recompute(id: string): RawBuilder<unknown>
}

const visible = sql.join([...VISIBLE_EVENTS])
const usedBytes = sql`(select coalesce(sum(size), 0) from box_event where box_id = box.id)`
const lastEvent = sql`(select coalesce(max(n), 0) from box_event
  where box_id = box.id and type in (${visible}))`
const accountTotals = sql`select owner_id, count(*) as files,
    sum(case when trashed_at is null then 0 else 1 end) as trashed,
    sum(case when blob_id is null then 0 else size end) as bytes
  from account_file`

const TOTALS: readonly Total[] = [
  {
    table: 'account_usage',
    text: 'the totals are not those of the account files',
    drifted: sql`select coalesce(kept.owner_id, counted.owner_id) as id
      from account_usage kept full join (${accountTotals} group by owner_id) counted
        on counted.owner_id = kept.owner_id
      where coalesce(kept.files, 0) <> coalesce(counted.files, 0)
        or coalesce(kept.trashed, 0) <> coalesce(counted.trashed, 0)
        or coalesce(kept.bytes, 0) <> coalesce(counted.bytes, 0)
      order by 1`,
    recompute: (id) => sql`insert into account_usage (owner_id, files, trashed, bytes)
      select ${id}, coalesce(max(files), 0), coalesce(max(trashed), 0), coalesce(max(bytes), 0)
      from (${accountTotals} where owner_id = ${id} group by owner_id) counted where true
      on conflict (owner_id) do update
        set files = excluded.files, trashed = excluded.trashed, bytes = excluded.bytes`,
  },
  {
    table: 'box',
    text: 'the used bytes are not those of the events',
    drifted: sql`select id from box where coalesce(used_bytes, 0) <> ${usedBytes} order by id`,
    recompute: (id) => sql`update box set used_bytes = ${usedBytes} where id = ${id}`,
  },
  {
    table: 'box',
    text: 'the last event is not that of the events',
    drifted: sql`select id from box where last_event <> ${lastEvent} order by id`,
    recompute: (id) => sql`update box set last_event = ${lastEvent} where id = ${id}`,
  },
]

/** Totals that have drifted; each is one statement, so that no write comes in between. */
export async function* checkTotals(database: Database, repair: boolean): AsyncGenerator<Finding> {
  for (const { table, text, drifted, recompute } of TOTALS) {
    for (const { id } of await rowsOf(database.read, drifted)) {
      const finding: Finding = { kind: 'drift', table, id, text }
      if (!repair) {
        yield finding
        continue
      }
      await database.write((writer) => recompute(id).execute(writer))
      yield { ...finding, repair: 'recomputed' }
    }
  }
}

async function rowsOf<T>(reader: Reader, query: RawBuilder<T>): Promise<T[]> {
  return (await query.execute(reader)).rows
}
