import { createHash, type Hash } from 'node:crypto'
import { sql } from 'kysely'
import { pages } from '../batches.ts'
import type { OnProgress } from '../checks/findings.ts'
import { type Database, NUMBERED_TABLES, type Reader, type Writer } from '../database.ts'
import { failpoint } from '../failpoints.ts'
import { MOVED_TABLES, type MovedTable } from './tables.ts'

const PAGE = 500
/** Content in the database may have up to 256 KiB. */
const CONTENT_PAGE = 32
const CLEARED_AT_ONCE = 5000

type Value = string | number | null | Uint8Array
type Values = Record<string, Value>

/** Rows that did not arrive as they are; the message names the table. */
export class RowsError extends Error {
  override name = 'RowsError'
}

/** How many rows there are in all tables that are moved. */
export async function countRows(reader: Reader): Promise<number> {
  let rows = 0
  for (const table of MOVED_TABLES) rows += await countOf(reader, table)
  return rows
}

/** Whether nothing is there but what a migration makes. */
export async function hasNoRows(reader: Reader): Promise<boolean> {
  const others = MOVED_TABLES.filter(({ name }) => name !== 'epoch')
  for (const table of others) if (await lastRow(reader, table)) return false
  return true
}

/**
 * Carries all rows over, sealed values as they are, in transactions of some rows each. What an
 * interrupted run has carried over stays, if it still is what the source holds; else it begins anew.
 * Names wait for the index afterwards.
 *
 * @param source in which nothing changes meanwhile
 * @param isNew whether nothing was carried over yet
 * @returns how many rows there are, those of earlier runs with them
 * @throws RowsError
 */
export async function moveRows(
  source: Database,
  target: Database,
  isNew: boolean,
  signal: AbortSignal,
  onProgress: OnProgress,
): Promise<number> {
  const total = await countRows(source.read)
  if (isNew || !(await isBeginning(source.read, target.read))) await clear(target)
  let done = await countRows(target.read)
  for (const table of MOVED_TABLES) {
    const last = await lastRow(target.read, table)
    for await (const page of rowsOf(source.read, table, last)) {
      if (signal.aborted) return done
      await insert(target, table, page)
      await failpoint('move.rows')
      done += page.length
      onProgress('rows', done, total)
    }
  }
  for (const table of NUMBERED_TABLES) {
    const last = await source.numbering.last(source.read, table)
    await target.write((writer) => target.numbering.goOnAfter(writer, table, last))
  }
  return done
}

/**
 * Holds all rows of both sides against each other, by count and SHA-256.
 *
 * @throws RowsError
 */
export async function compareRows(
  source: Database,
  target: Database,
  onProgress: OnProgress,
): Promise<void> {
  const total = await countRows(source.read)
  let done = 0
  for (const table of MOVED_TABLES) {
    const [was, is] = [await digestOf(source.read, table), await digestOf(target.read, table)]
    if (was.rows !== is.rows || was.sha256 !== is.sha256) {
      throw new RowsError(
        `${table.name} did not arrive as it is: ${was.rows} rows with SHA-256 ${was.sha256} became ${is.rows} with ${is.sha256}`,
      )
    }
    done += was.rows
    onProgress('compare', done, total)
  }
}

/** Whether what was carried over before is what the source begins with, table by table. */
async function isBeginning(source: Reader, target: Reader): Promise<boolean> {
  for (const table of MOVED_TABLES) {
    const last = await lastRow(target, table)
    if (!last) continue
    const [was, is] = [await digestOf(source, table, last), await digestOf(target, table)]
    if (was.rows !== is.rows || was.sha256 !== is.sha256) return false
  }
  return true
}

async function clear(target: Database): Promise<void> {
  await target.write((writer) => target.nameIndex.clear(writer))
  const waiting = { name: 'search_todo', key: ['n'] }
  for (const { name, key } of [waiting, ...MOVED_TABLES.toReversed()]) {
    const columns = sql.join(key.map((column) => sql.ref(column)))
    const some = sql`delete from ${sql.table(name)} where (${columns}) in
      (select ${columns} from ${sql.table(name)} order by ${columns} limit ${CLEARED_AT_ONCE})`
    let cleared: bigint
    do {
      cleared = await target.write(
        async (writer) => (await some.execute(writer)).numAffectedRows ?? 0n,
      )
    } while (cleared === BigInt(CLEARED_AT_ONCE))
  }
}

async function insert(target: Database, table: MovedTable, rows: Values[]): Promise<void> {
  try {
    await target.write(async (writer) => {
      await insertInto(writer, table.name, rows)
      if (table.name !== 'account_file') return
      const waiting = rows.map(({ n, owner_id }) => ({
        n: n as Value,
        owner_id: owner_id as Value,
      }))
      await insertInto(writer, 'search_todo', waiting)
    })
  } catch (error) {
    // Not for a reason that another time may do away with: a row that its own rules refuse.
    if (!isRefusedRow(error)) throw error
    throw new RowsError(
      `${table.name} has rows that cannot be moved (run fsck): ${error.message}`,
      {
        cause: error,
      },
    )
  }
}

/** Of PostgreSQL classes 22 and 23 (wrong values, broken constraints), of SQLite 19 and 20. */
function isRefusedRow(error: unknown): error is Error {
  const { code, errcode } = error as { code?: string; errcode?: number }
  if (errcode !== undefined) return [19, 20].includes(errcode & 0xff)
  return error instanceof Error && /^2[23]/.test(code ?? '')
}

async function insertInto(writer: Writer, name: string, rows: Values[]): Promise<void> {
  const columns = Object.keys(rows[0] ?? {})
  const tuples = rows.map((row) => sql`(${sql.join(columns.map((column) => row[column] ?? null))})`)
  await sql`insert into ${sql.table(name)} (${sql.join(columns.map((column) => sql.ref(column)))})
    values ${sql.join(tuples)}`.execute(writer)
}

/** Rows in the order of their key, some at a time. */
function rowsOf(
  reader: Reader,
  table: MovedTable,
  after?: Values,
  upTo?: Values,
): AsyncGenerator<Values[]> {
  const size = table.name === 'small_content' ? CONTENT_PAGE : PAGE
  const columns = sql.join(table.key.map((column) => sql.ref(column)))
  const keyOf = (row: Values) => sql.join(table.key.map((column) => row[column]))
  return pages<Values>(size, async (before) => {
    const last = before ?? after
    const bounds = [
      ...(last ? [sql`(${columns}) > (${keyOf(last)})`] : []),
      ...(upTo ? [sql`(${columns}) <= (${keyOf(upTo)})`] : []),
    ]
    const { rows } = await sql<Values>`select * from ${sql.table(table.name)}
      ${bounds.length > 0 ? sql`where ${sql.join(bounds, sql` and `)}` : sql``}
      order by ${columns} limit ${size}`.execute(reader)
    return rows
  })
}

/** The last row in the order of the key; only its key is there. */
async function lastRow(reader: Reader, { name, key }: MovedTable): Promise<Values | undefined> {
  const columns = key.map((column) => sql.ref(column))
  const backwards = columns.map((column) => sql`${column} desc`)
  const { rows } = await sql<Values>`select ${sql.join(columns)} from ${sql.table(name)}
    order by ${sql.join(backwards)} limit 1`.execute(reader)
  return rows[0]
}

async function countOf(reader: Reader, { name }: MovedTable): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*) as count from ${sql.table(name)}`.execute(reader)
  return rows[0]?.count ?? 0
}

interface Digest {
  readonly rows: number
  readonly sha256: string
}

async function digestOf(reader: Reader, table: MovedTable, upTo?: Values): Promise<Digest> {
  const hash = createHash('sha256')
  let rows = 0
  for await (const page of rowsOf(reader, table, undefined, upTo)) {
    for (const row of page) addRow(hash, row)
    rows += page.length
  }
  return { rows, sha256: hash.digest('hex') }
}

/** The same for a row in any database, whatever the order of its columns. */
function addRow(hash: Hash, row: Values): void {
  const columns = Object.keys(row).sort((one, other) => (one < other ? -1 : 1))
  const bytes: Uint8Array[] = []
  const plain = columns.map((column) => {
    const value = row[column]
    if (!(value instanceof Uint8Array)) return [column, value]
    bytes.push(value)
    return [column, 'bytes', value.byteLength]
  })
  hash.update(JSON.stringify(plain))
  for (const value of bytes) hash.update(value)
}
