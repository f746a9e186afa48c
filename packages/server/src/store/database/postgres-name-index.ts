import { sql } from 'kysely'
import type { NameIndex } from '../../core/database.ts'

/** A table of arrays, each with the tokens of one file's name, and an inverted index (GIN) of them. */
export const postgresNameIndex: NameIndex = {
  async put(writer, n, tokens) {
    await sql`insert into name_search (n, tokens) values (${n}, ${numbersOf(tokens)}::bigint[])`.execute(
      writer,
    )
  },

  async remove(writer, n) {
    await sql`delete from name_search where n = ${n}`.execute(writer)
  },

  async find(reader, tokens, { descending, after }, limit) {
    const behind = descending ? sql`n < ${after}` : sql`n > ${after}`
    // The offset keeps the planner, which knows nothing of how rare a token is, from going through
    // all files of all owners in the order of their numbers instead of asking the index.
    const { rows } = await sql<{ n: number }>`
      select n from
        (select n from name_search where tokens @> ${numbersOf(tokens)}::bigint[] offset 0) as found
      where ${behind} order by n ${descending ? sql`desc` : sql`asc`} limit ${limit}
    `.execute(reader)
    return rows.map((row) => row.n)
  },

  /** Autovacuum does. */
  tidy: async () => false,

  async clear(writer) {
    await sql`delete from name_search`.execute(writer)
  },
}

function numbersOf(tokens: readonly string[]): number[] {
  return tokens.map((token) => Number.parseInt(token, 16))
}
