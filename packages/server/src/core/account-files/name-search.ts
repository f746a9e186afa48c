import { createCipheriv, createHmac, type KeyObject } from 'node:crypto'
import { sql } from 'kysely'
import type { Reader, Writer } from '../database.ts'
import { searchForm } from '../file-names.ts'
import type { Keyring } from '../keys/keyring.ts'

/** Shorter keywords have no token: the owner's names are opened instead. */
export const SHORTEST_INDEXED = 3
/** Of three characters for keywords of three, of four for longer ones: those are far rarer. */
const GRAMS = [SHORTEST_INDEXED, 4] as const
const TOKEN_BYTES = 5
const BLOCK_BYTES = 16
/** A keyword of so few parts is asked for as it is, a longer one by its rarest: what is found is opened and checked. */
const TOKENS_PER_QUERY = 3
/** So many, from all over the keyword, are looked at to tell how rare they are, by the last rows that have them. */
const TOKENS_PROBED = 8
const ROWS_PER_PROBE = 8
const MUCH_LESS_RARE = 4
/** Pages of the index that one step of tidying writes: some ten milliseconds. */
const PAGES_PER_STEP = 100

/** Rows by their numbers, from behind one. */
export interface NumberOrder {
  readonly descending: boolean
  readonly after: number
}

/**
 * Substring search over sealed names: keyed tokens of their parts in a full-text index without
 * content. Tokens of different owners never match each other, and the time of a search depends on
 * the owner's files only. What is found may be wrong (the order of parts) but nothing is missed.
 */
export interface NameSearch {
  /** Indexes one row. */
  put(writer: Writer, scope: string, n: number, name: string): Promise<void>
  remove(writer: Writer, n: number): Promise<void>
  /** Rows that may match, at most `limit` of those behind one in an order. */
  find(
    reader: Reader,
    scope: string,
    keyword: string,
    order: NumberOrder,
    limit: number,
  ): Promise<number[]>
  /**
   * One step of joining the pieces that the index has come in: a search looks into each of them.
   *
   * @param isFirst of the steps of one tidying
   * @returns whether another step has something to do
   */
  tidy(writer: Writer, isFirst: boolean): Promise<boolean>
}

export function createNameSearch(keyring: Keyring): NameSearch {
  return {
    async put(writer, scope, n, name) {
      const tokens = tokensOf(scopeKey(keyring, scope), searchForm(name), GRAMS).join(' ')
      await sql`insert into name_search (rowid, tokens) values (${n}, ${tokens})`.execute(writer)
    },

    async remove(writer, n) {
      await sql`delete from name_search where rowid = ${n}`.execute(writer)
    },

    async find(reader, scope, keyword, order, limit) {
      const form = searchForm(keyword)
      const gram = GRAMS.findLast((length) => [...form].length >= length) ?? SHORTEST_INDEXED
      const tokens = tokensOf(scopeKey(keyring, scope), form, [gram])
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
  }
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
    where name_search match ${tokens.join(' AND ')} and ${behind}
    order by rowid ${descending ? sql`desc` : sql`asc`} limit ${limit}
  `.execute(reader)
  return rows.map((row) => row.n)
}

function scopeKey(keyring: Keyring, scope: string): Buffer {
  const key: KeyObject = keyring.indexKey('name_search')
  return createHmac('sha256', key).update(scope).digest()
}

/**
 * Tokens of all parts of a text that have one of these lengths. One block of AES-ECB per part under the
 * scope's key is a pseudo-random function of it, and one call makes all.
 */
function tokensOf(key: Buffer, form: string, lengths: readonly number[]): string[] {
  const points = [...form]
  const grams = new Set<string>()
  for (const length of lengths) {
    for (let at = 0; at + length <= points.length; at += 1) {
      grams.add(points.slice(at, at + length).join(''))
    }
  }
  const blocks = Buffer.alloc(grams.size * BLOCK_BYTES)
  let block = 0
  for (const gram of grams) {
    blocks.write(gram, block * BLOCK_BYTES, 'utf8')
    block += 1
  }
  const cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false)
  const sealed = cipher.update(blocks)
  return Array.from({ length: grams.size }, (_, index) => {
    const start = index * BLOCK_BYTES
    return `t${sealed.toString('hex', start, start + TOKEN_BYTES)}`
  })
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
