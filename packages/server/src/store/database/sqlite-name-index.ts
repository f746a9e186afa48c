import { sql } from 'kysely'
import type { NameIndex, NumberOrder, Reader, Writer } from '../../core/database.ts'

/** A keyword of so few parts is asked for as it is, a longer one by its rarest: what is found is opened and checked. */
const TOKENS_PER_QUERY = 3
/** So many, from all over the keyword, are looked at to tell how rare they are, by the last rows that have them. */
const TOKENS_PROBED = 8
const ROWS_PER_PROBE = 8
const MUCH_LESS_RARE = 4
/** Pages of the index that one step of tidying writes: some ten milliseconds. */
const PAGES_PER_STEP = 100

/** A full-text index without content (FTS5), whose rows have the numbers of files. */
export const sqliteNameIndex: NameIndex = {
  async put(writer, n, tokens) {
    const text = tokens.map(term).join(' ')
    await sql`insert into name_search (rowid, tokens) values (${n}, ${text})`.execute(writer)
  },

  async remove(writer, n) {
    await sql`delete from name_search where rowid = ${n}`.execute(writer)
  },

  async find(reader, tokens, order, limit) {
    if (tokens.length <= TOKENS_PER_QUERY) return rowsWith(reader, tokens, order, limit)
    // A common part costs more the more rows there are, and leaves hardly one of them out.
    const probes: Probe[] = []
    for (const [at, token] of spread(tokens, TOKENS_PROBED).entries()) {
      const rows = await rowsWith(reader, [token], order, ROWS_PER_PROBE)
      if (rows.length < ROWS_PER_PROBE) return rows.slice(0, limit)
      probes.push({ token, at, span: Math.abs((rows.at(-1) ?? 0) - (rows[0] ?? 0)) })
    }
    return rowsWith(reader, rarestOf(probes), order, limit)
  },

  async tidy(writer, isFirst) {
    // A negative number also takes up pieces that are too few to be merged by themselves.
    const pages = isFirst ? -PAGES_PER_STEP : PAGES_PER_STEP
    const before = await totalChanges(writer)
    await sql`insert into name_search (name_search, rank) values ('merge', ${pages})`.execute(
      writer,
    )
    return (await totalChanges(writer)) - before > 1
  },

  async clear(writer) {
    await sql`insert into name_search (name_search) values ('delete-all')`.execute(writer)
  },
}

/** A token as a word: digits alone could be taken for something else. */
function term(token: string): string {
  return `t${token}`
}

async function rowsWith(
  reader: Reader,
  tokens: readonly string[],
  { descending, after }: NumberOrder,
  limit: number,
): Promise<number[]> {
  const behind = descending ? sql`rowid < ${after}` : sql`rowid > ${after}`
  const { rows } = await sql<{ n: number }>`
    select rowid as n from name_search
    where name_search match ${tokens.map(term).join(' AND ')} and ${behind}
    order by rowid ${descending ? sql`desc` : sql`asc`} limit ${limit}
  `.execute(reader)
  return rows.map((row) => row.n)
}

/** What this connection has ever changed; a merge that had nothing to do is one change. */
async function totalChanges(writer: Writer): Promise<number> {
  const { rows } = await sql<{ changes: number }>`select total_changes() as changes`.execute(writer)
  return rows[0]?.changes ?? 0
}

/** A part of a keyword and how rare it is. */
interface Probe {
  readonly token: string
  /** Its place in the keyword. */
  readonly at: number
  /** Over how many rows the last ones with it are spread. */
  readonly span: number
}

/**
 * The two rarest, and one of the other half that is not much less rare: neighbours are mostly there
 * together.
 */
function rarestOf(probes: readonly Probe[]): string[] {
  const inFront = ({ at }: Probe) => at < probes.length / 2
  const [first, ...others] = probes.toSorted((a, b) => b.span - a.span)
  if (!first) return []
  const elsewhere = others.find(
    (probe) => inFront(probe) !== inFront(first) && probe.span * MUCH_LESS_RARE > first.span,
  )
  const chosen = new Set([first, ...others.slice(0, 1), ...(elsewhere ? [elsewhere] : [])])
  return [...chosen].map(({ token }) => token)
}

/** At most `count` of them, evenly. */
function spread<T>(all: readonly T[], count: number): readonly T[] {
  const step = all.length / count
  return step <= 1 ? all : Array.from({ length: count }, (_, at) => all[Math.floor(at * step)] as T)
}
