import { sql } from 'kysely'
import type { Numbering } from '../../core/database.ts'

/** Tables with `autoincrement`: the last number of each stands in a table. */
export const sqliteNumbering: Numbering = {
  async last(reader, table) {
    const { rows } = await sql<{ seq: number }>`
      select seq from sqlite_sequence where name = ${table}`.execute(reader)
    return rows[0]?.seq ?? 0
  },

  async goOnAfter(writer, table, last) {
    await sql`delete from sqlite_sequence where name = ${table}`.execute(writer)
    await sql`insert into sqlite_sequence (name, seq) values (${table}, ${last})`.execute(writer)
  },
}

/** Identity columns, which rows that come with their number leave as they are. */
export const postgresNumbering: Numbering = {
  async last(reader, table) {
    const { rows } = await sql<{ last: number | null }>`
      select pg_sequence_last_value(pg_get_serial_sequence(${table}, 'n')::regclass) as last
    `.execute(reader)
    return rows[0]?.last ?? 0
  },

  async goOnAfter(writer, table, last) {
    await sql`select setval(pg_get_serial_sequence(${table}, 'n'), ${Math.max(1, last)}::bigint, ${last > 0}::boolean)`.execute(
      writer,
    )
  },
}
