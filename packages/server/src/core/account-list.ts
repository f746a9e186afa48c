import { type ExpressionBuilder, sql } from 'kysely'
import type { AccountFile, AccountFiles } from './account-files.ts'
import type { Database } from './database.ts'
import { searchForm } from './file-names.ts'
import { type NameSearch, SHORTEST_INDEXED } from './name-search.ts'
import type { Row, Schema } from './schema.ts'

export type SortColumn = 'name' | 'size' | 'encrypted_size' | 'created_at'

export interface SortTerm {
  column: SortColumn
  descending: boolean
}

export interface AccountQuery {
  /** The first counts most; equal files come newest first. None: newest first. */
  sort: readonly SortTerm[]
  /** Part of a name, in any case; blank finds all. */
  keyword: string
  /** Whether records in the trash are listed. */
  trashed: 'with' | 'without' | 'only'
}

export interface AccountPage {
  files: AccountFile[]
  /** All that match, or undefined where counting them would take longer than the page. */
  total: number | undefined
  /** Whether there is a next page. */
  more: boolean
}

/** Lists of an account's files. */
export interface AccountList {
  /** Everything that matches, in batches; nothing is held open between them. */
  all(ownerId: string, query: AccountQuery): AsyncGenerator<AccountFile[]>
  page(ownerId: string, query: AccountQuery, offset: number, limit: number): Promise<AccountPage>
}

const BATCH = 500
/** Up to so many rows that may match a keyword are opened and sorted for one page. */
const SORTED_AT_MOST = 2000
const EVERY_ROW = Number.MAX_SAFE_INTEGER

type FileRow = Row<'account_file'>

/** The order that needs no sorting: by one column that has an index. */
interface IndexedOrder {
  column: 'n' | 'size' | 'encrypted_size'
  descending: boolean
}

export function createAccountList(
  database: Database,
  files: AccountFiles,
  search: NameSearch,
): AccountList {
  const { read } = database

  function rowsOf(ownerId: string, { trashed }: AccountQuery) {
    const rows = read.selectFrom('account_file').where('owner_id', '=', ownerId)
    if (trashed === 'with') return rows
    return rows.where('trashed_at', trashed === 'only' ? 'is not' : 'is', null)
  }

  /** Rows in the order of an index, from behind `after`. */
  async function indexedBatch(
    ownerId: string,
    query: AccountQuery,
    { column, descending }: IndexedOrder,
    after: FileRow | undefined,
    slice: { offset: number; limit: number },
  ): Promise<FileRow[]> {
    let rows = rowsOf(ownerId, query).selectAll()
    if (after) rows = rows.where((eb) => behind(eb, column, descending, after))
    if (column !== 'n') rows = rows.orderBy(column, descending ? 'desc' : 'asc')
    return rows
      .orderBy('n', column === 'n' && !descending ? 'asc' : 'desc')
      .limit(slice.limit)
      .offset(slice.offset)
      .execute()
  }

  async function* inIndexedOrder(
    ownerId: string,
    query: AccountQuery,
    order: IndexedOrder,
  ): AsyncGenerator<AccountFile[]> {
    let last: FileRow | undefined
    for (;;) {
      const rows = await indexedBatch(ownerId, query, order, last, { offset: 0, limit: BATCH })
      if (rows.length > 0) yield rows.map(files.open)
      if (rows.length < BATCH) return
      last = rows.at(-1)
    }
  }

  /** Rows by number, in the order of the numbers. */
  async function opened(
    ownerId: string,
    query: AccountQuery,
    numbers: readonly number[],
  ): Promise<AccountFile[]> {
    const rows = await rowsOf(ownerId, query).selectAll().where('n', 'in', numbers).execute()
    const byNumber = new Map(rows.map((row) => [row.n, row]))
    return numbers.flatMap((n) => {
      const row = byNumber.get(n)
      return row ? [files.open(row)] : []
    })
  }

  /** Files with a keyword in their name that are not in the index yet, newest first. */
  async function notIndexed(ownerId: string, query: AccountQuery): Promise<AccountFile[]> {
    const rows = await read
      .selectFrom('search_todo')
      .select('n')
      .where('owner_id', '=', ownerId)
      .orderBy('n', 'desc')
      .execute()
    const found: AccountFile[] = []
    for (const numbers of batchesOf(rows.map((row) => row.n))) {
      found.push(...matching(await opened(ownerId, query, numbers), query))
    }
    return found
  }

  /** Files whose names match, newest first: the ones that wait for the index, then the index's. */
  async function* found(
    ownerId: string,
    query: AccountQuery,
    atOnce = BATCH,
  ): AsyncGenerator<AccountFile[]> {
    const waiting = await notIndexed(ownerId, query)
    const seen = new Set(waiting.map(({ n }) => n))
    if (waiting.length > 0) yield waiting
    let before = EVERY_ROW
    for (;;) {
      const numbers = await search.find(read, ownerId, query.keyword, before, atOnce)
      const batch = matching(await opened(ownerId, query, numbers), query)
      yield batch.filter(({ n }) => !seen.has(n))
      if (numbers.length < atOnce) return
      before = numbers.at(-1) ?? 0
    }
  }

  /**
   * Whether what matches a keyword is found by the index and sorted. What matches often is met soon
   * on the way through the order; the search finds newest first in any case.
   */
  async function mustSort(
    ownerId: string,
    query: AccountQuery,
    order: IndexedOrder,
  ): Promise<boolean> {
    if (order === NEWEST_FIRST) return false
    const some = await search.find(read, ownerId, query.keyword, EVERY_ROW, SORTED_AT_MOST + 1)
    return some.length <= SORTED_AT_MOST
  }

  /** Opens every name: the price of an order or a keyword that no index serves. */
  async function sortedInMemory(ownerId: string, query: AccountQuery): Promise<AccountFile[]> {
    const source = isIndexed(query.keyword)
      ? found(ownerId, query)
      : inIndexedOrder(ownerId, query, NEWEST_FIRST)
    const all: AccountFile[] = []
    for await (const batch of source) {
      all.push(...matching(batch, query))
      await pause()
    }
    return all.sort(comparison(query.sort))
  }

  /** In order, without sorting in memory where an index serves. */
  async function* ordered(ownerId: string, query: AccountQuery): AsyncGenerator<AccountFile[]> {
    const order = indexedOrder(query.sort)
    if (order && query.keyword === '') yield* inIndexedOrder(ownerId, query, order)
    else if (order === NEWEST_FIRST && isIndexed(query.keyword)) yield* found(ownerId, query)
    else yield* batchesOf(await sortedInMemory(ownerId, query))
  }

  /** The first files that match, in order. */
  async function firstMatches(
    ownerId: string,
    query: AccountQuery,
    order: IndexedOrder,
    count: number,
  ): Promise<AccountFile[]> {
    const source =
      order === NEWEST_FIRST ? found(ownerId, query, count) : inIndexedOrder(ownerId, query, order)
    const first: AccountFile[] = []
    for await (const batch of source) {
      first.push(...matching(batch, query))
      if (first.length >= count) break
    }
    return first
  }

  async function totalOf(ownerId: string, { trashed }: AccountQuery): Promise<number> {
    const usage = await files.usage(ownerId)
    if (trashed === 'with') return usage.files
    return trashed === 'only' ? usage.trashed : usage.files - usage.trashed
  }

  return {
    all: ordered,

    async page(ownerId, query, offset, limit) {
      const order = indexedOrder(query.sort)
      if (order && query.keyword === '') {
        const slice = { offset, limit }
        const rows = await indexedBatch(ownerId, query, order, undefined, slice)
        const total = await totalOf(ownerId, query)
        return { files: rows.map(files.open), total, more: offset + rows.length < total }
      }
      if (order && isIndexed(query.keyword) && !(await mustSort(ownerId, query, order))) {
        const first = await firstMatches(ownerId, query, order, offset + limit + 1)
        const more = first.length > offset + limit
        const total = more ? undefined : first.length
        return { files: first.slice(offset, offset + limit), total, more }
      }
      const all = await sortedInMemory(ownerId, query)
      return {
        files: all.slice(offset, offset + limit),
        total: all.length,
        more: all.length > offset + limit,
      }
    },
  }
}

const NEWEST_FIRST: IndexedOrder = { column: 'n', descending: true }

/** Files are numbered in the order in which they came. */
function indexedOrder(sort: readonly SortTerm[]): IndexedOrder | undefined {
  const [term, ...more] = sort
  if (!term) return NEWEST_FIRST
  if (more.length > 0 || term.column === 'name') return undefined
  if (term.column !== 'created_at') return { column: term.column, descending: term.descending }
  return term.descending ? NEWEST_FIRST : { column: 'n', descending: false }
}

function isIndexed(keyword: string): boolean {
  return [...searchForm(keyword)].length >= SHORTEST_INDEXED
}

function matching(files: readonly AccountFile[], { keyword }: AccountQuery): AccountFile[] {
  const wanted = searchForm(keyword)
  return files.filter(({ fullName }) => searchForm(fullName).includes(wanted))
}

/** Rows that stand behind one in an order by a column, then newest first. */
function behind(
  eb: ExpressionBuilder<Schema, 'account_file'>,
  column: IndexedOrder['column'],
  descending: boolean,
  after: FileRow,
) {
  if (column === 'n') return eb('n', descending ? '<' : '>', after.n)
  const comparison = descending ? sql`<` : sql`>`
  const value = after[column]
  return sql<boolean>`(${sql.ref(column)} ${comparison} ${value}
    or (${sql.ref(column)} = ${value} and n < ${after.n}))`
}

const names = new Intl.Collator('en', { numeric: true, sensitivity: 'base' })

function comparison(sort: readonly SortTerm[]) {
  return (a: AccountFile, b: AccountFile): number => {
    for (const { column, descending } of sort) {
      const difference = compareBy(column, a, b)
      if (difference !== 0) return descending ? -difference : difference
    }
    return b.n - a.n
  }
}

function compareBy(column: SortColumn, a: AccountFile, b: AccountFile): number {
  switch (column) {
    case 'name':
      return names.compare(a.fullName, b.fullName)
    case 'size':
      return a.size - b.size
    case 'encrypted_size':
      return a.encryptedSize - b.encryptedSize
    case 'created_at':
      return a.n - b.n
  }
}

function* batchesOf<T>(all: readonly T[]): Generator<T[]> {
  for (let at = 0; at < all.length; at += BATCH) yield all.slice(at, at + BATCH)
}

/** Lets other requests in between slices of long work. */
function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
