import type { ExpressionBuilder } from 'kysely'
import type { Database } from '../database.ts'
import { searchForm } from '../file-names.ts'
import type { Row, Schema } from '../schema.ts'
import type { AccountFile, AccountFiles } from './files.ts'
import { type NameSearch, SHORTEST_INDEXED } from './name-search.ts'

export type SortColumn = 'name' | 'size' | 'encrypted_size' | 'created_at'

export interface SortTerm {
  column: SortColumn
  descending: boolean
}

export interface AccountQuery {
  /** The first counts most; equal files come newest first when it descends, else last. None: newest first. */
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
/** So many files with a keyword tell how rare it is. */
const HITS_PROBED = 100
const BEHIND_ALL = Number.MAX_SAFE_INTEGER

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
    const direction = descending ? 'desc' : 'asc'
    if (column !== 'n') rows = rows.orderBy(column, direction)
    return rows.orderBy('n', direction).limit(slice.limit).offset(slice.offset).execute()
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

  /** Files whose names match, by number: those of the index, and the ones that wait for it, which are newer. */
  async function* found(
    ownerId: string,
    query: AccountQuery,
    { descending }: IndexedOrder,
    atOnce = BATCH,
  ): AsyncGenerator<AccountFile[]> {
    const waiting = await notIndexed(ownerId, query)
    const seen = new Set(waiting.map(({ n }) => n))
    if (descending && waiting.length > 0) yield waiting
    let after = descending ? BEHIND_ALL : 0
    for (;;) {
      const order = { descending, after }
      const numbers = await search.find(read, ownerId, query.keyword, order, atOnce)
      const batch = matching(await opened(ownerId, query, numbers), query)
      yield batch.filter(({ n }) => !seen.has(n))
      if (numbers.length < atOnce) break
      after = numbers.at(-1) ?? 0
    }
    if (!descending && waiting.length > 0) yield waiting.reverse()
  }

  /**
   * Whether it takes less to sort all that match a keyword than to meet `count` of them on the way
   * through the order.
   */
  async function mustSort(
    ownerId: string,
    { keyword }: AccountQuery,
    { column }: IndexedOrder,
    count: number,
  ): Promise<boolean> {
    if (column === 'n' || !isIndexed(keyword)) return false
    const order = { descending: true, after: BEHIND_ALL }
    const newest = await search.find(read, ownerId, keyword, order, HITS_PROBED)
    const [first = 0, last = 0] = [newest[0], newest.at(-1)]
    if (newest.length < HITS_PROBED) return true
    const rows = read.selectFrom('account_file').where('owner_id', '=', ownerId)
    const { from } = await rows.select((eb) => eb.fn.min('n').as('from')).executeTakeFirstOrThrow()
    // As the newest ones lie, so may the others.
    const hits = (HITS_PROBED * (first - from)) / (first - last)
    const all = (await files.usage(ownerId)).files
    return hits * hits < all * count
  }

  /** What matches, where no index serves the order: every name of the account, or what the index finds. */
  async function* unordered(ownerId: string, query: AccountQuery): AsyncGenerator<AccountFile[]> {
    const source = isIndexed(query.keyword)
      ? found(ownerId, query, NEWEST_FIRST)
      : inIndexedOrder(ownerId, query, NEWEST_FIRST)
    for await (const batch of source) {
      yield matching(batch, query)
      await pause()
    }
  }

  /** The first `count` in order, and how many there are in all; keeps hardly more than those. */
  async function sorted(
    ownerId: string,
    query: AccountQuery,
    count: number,
  ): Promise<{ first: AccountFile[]; total: number }> {
    const compare = comparison(query.sort)
    let first: AccountFile[] = []
    let total = 0
    for await (const batch of unordered(ownerId, query)) {
      total += batch.length
      const last = first.length >= count ? first[count - 1] : undefined
      first.push(...(last ? batch.filter((file) => compare(file, last) < 0) : batch))
      if (first.length > count) first = first.sort(compare).slice(0, count)
    }
    return { first: first.sort(compare).slice(0, count), total }
  }

  /** Batches in an order that needs no sorting, with whatever in them does not match. */
  function inOrder(
    ownerId: string,
    query: AccountQuery,
    order: IndexedOrder,
    atOnce = BATCH,
  ): AsyncGenerator<AccountFile[]> {
    return order.column === 'n' && isIndexed(query.keyword)
      ? found(ownerId, query, order, atOnce)
      : inIndexedOrder(ownerId, query, order)
  }

  async function* ordered(ownerId: string, query: AccountQuery): AsyncGenerator<AccountFile[]> {
    const order = indexedOrder(query.sort)
    // Of all that match, what the index finds is less to open than everything in its order.
    if (!order || (order.column !== 'n' && isIndexed(query.keyword))) {
      yield* batchesOf((await sorted(ownerId, query, Number.POSITIVE_INFINITY)).first)
      return
    }
    for await (const batch of inOrder(ownerId, query, order)) {
      yield matching(batch, query)
      await pause()
    }
  }

  /** The first files that match, in order. */
  async function firstMatches(
    ownerId: string,
    query: AccountQuery,
    order: IndexedOrder,
    count: number,
  ): Promise<AccountFile[]> {
    const first: AccountFile[] = []
    for await (const batch of inOrder(ownerId, query, order, count)) {
      first.push(...matching(batch, query))
      if (first.length >= count) break
      await pause()
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
      const end = offset + limit
      if (order && !(await mustSort(ownerId, query, order, end + 1))) {
        const first = await firstMatches(ownerId, query, order, end + 1)
        const more = first.length > end
        return { files: first.slice(offset, end), total: more ? undefined : first.length, more }
      }
      const { first, total } = await sorted(ownerId, query, end)
      return { files: first.slice(offset), total, more: total > end }
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
  if (keyword === '') return [...files]
  const wanted = searchForm(keyword)
  return files.filter(({ fullName }) => searchForm(fullName).includes(wanted))
}

/** Rows that stand behind one in an order by a column and their numbers. */
function behind(
  eb: ExpressionBuilder<Schema, 'account_file'>,
  column: IndexedOrder['column'],
  descending: boolean,
  after: FileRow,
) {
  const comparison = descending ? '<' : '>'
  if (column === 'n') return eb('n', comparison, after.n)
  // As one comparison of pairs, which begins in the middle of the index; two of them would not.
  return eb(eb.refTuple(column, 'n'), comparison, eb.tuple(after[column], after.n))
}

const names = new Intl.Collator('en', { numeric: true, sensitivity: 'base' })

function comparison(sort: readonly SortTerm[]) {
  const newestFirst = sort[0]?.descending ?? true
  return (a: AccountFile, b: AccountFile): number => {
    for (const { column, descending } of sort) {
      const difference = compareBy(column, a, b)
      if (difference !== 0) return descending ? -difference : difference
    }
    return newestFirst ? b.n - a.n : a.n - b.n
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
