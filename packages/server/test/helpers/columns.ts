import { DatabaseSync } from 'node:sqlite'
import { folderPaths } from '../../src/store/folder.ts'
import { receive, type Tenant, type TenantFile, type Tenants } from './tenants.ts'

type Value = string | number | null | Uint8Array
type Row = Record<string, Value>

/** What changes of the plain columns of a database did to those who read. */
export interface Damage {
  /** Columns through which somebody got content of another. */
  readonly strangers: string[]
  /** Columns through which somebody got other content than that of the file she asked for. */
  readonly wrong: string[]
  /** Changes that the database took. */
  readonly changes: number
}

/** How much is tried. */
export interface Thoroughness {
  /** Rows of a table that are changed in each half of it: one half is the one's, one the other's. */
  readonly rows: number
  /** Whether to put values that stand in no other row. */
  readonly lies: boolean
}

/**
 * Changes plain columns one by one, as somebody does who can write the database: takes values from
 * other rows, changes them about, and puts numbers that lie. After each change everybody asks for
 * all files, her own and the other's.
 *
 * @param isWanted which columns
 */
export async function changeColumns(
  tenants: Tenants,
  isWanted: (table: string, column: string) => boolean,
  thoroughness: Thoroughness,
): Promise<Damage> {
  const database = new DatabaseSync(folderPaths(tenants.server.config.data).database, {
    timeout: 5000,
    enableForeignKeyConstraints: false,
  })
  const strangers = new Set<string>()
  const wrong = new Set<string>()
  let changes = 0
  for (const [table, columns] of plainColumns(database)) {
    const rows = database.prepare(`select * from ${table}`).all() as Row[]
    for (const column of columns.filter((name) => isWanted(table, name))) {
      for (const changed of changesOf(database, rows, column, thoroughness)) {
        if (!replaceAll(database, table, changed)) continue
        changes += 1
        const found = await readEverything(tenants)
        if (found.stranger) strangers.add(`${table}.${column}`)
        if (found.wrong) wrong.add(`${table}.${column}`)
      }
      if (!replaceAll(database, table, rows)) throw new Error(`${table} was not put right`)
    }
  }
  database.close()
  return { strangers: [...strangers].sort(), wrong: [...wrong].sort(), changes }
}

/** Every table with its columns, but for sealed ones and for what the search index keeps. */
function plainColumns(database: DatabaseSync): Map<string, string[]> {
  const found = database
    .prepare(
      `select m.name as "table", c.name as "column"
        from sqlite_master m join pragma_table_info(m.name) c
        where m.type = 'table' and c.name != 'sealed'
          and m.name not like 'sqlite_%' and m.name not like 'name_search%'`,
    )
    .all()
  const byTable = Map.groupBy(found, (row) => String(row.table))
  return new Map(
    [...byTable].map(([table, rows]) => [table, rows.map((row) => String(row.column))] as const),
  )
}

/** The rows of a table after each change of a column. */
function* changesOf(
  database: DatabaseSync,
  rows: readonly Row[],
  column: string,
  { rows: count, lies }: Thoroughness,
): Generator<Row[]> {
  const filled = rows.filter((row) => row[column] !== null)
  const half = Math.floor(filled.length / 2)
  const chosen = [...filled.slice(0, half).slice(0, count), ...filled.slice(half).slice(0, count)]
  // Of the table's other rows some link to nothing.
  const blobs = column === 'blob_id' ? idsOfBlobs(database) : []
  for (const row of chosen) {
    const before = row[column] as Value
    for (const other of chosen) {
      if (other === row || other[column] === before) continue
      yield rows.map((each) =>
        each === row ? { ...each, [column]: other[column] as Value } : each,
      )
      yield rows.map((each) => {
        if (each === row) return { ...each, [column]: other[column] as Value }
        return each === other ? { ...each, [column]: before } : each
      })
    }
    for (const value of lies ? [...liesAbout(before), ...blobs] : []) {
      yield rows.map((each) => (each === row ? { ...each, [column]: value } : each))
    }
  }
}

function idsOfBlobs(database: DatabaseSync): string[] {
  const rows = database.prepare('select id from blob').all()
  return rows.map((row) => String(row.id))
}

function liesAbout(before: Value): Value[] {
  if (typeof before === 'number') return [0, before - 1, before + 1, 10 ** 12, null]
  return typeof before === 'string' ? ['', null] : [null]
}

/** @returns whether the database took it */
function replaceAll(database: DatabaseSync, table: string, rows: readonly Row[]): boolean {
  database.exec('begin immediate')
  try {
    database.exec(`delete from ${table}`)
    for (const row of rows) {
      const names = Object.keys(row)
      database
        .prepare(`insert into ${table} (${names}) values (${names.map(() => '?')})`)
        .run(...Object.values(row))
    }
    database.exec('commit')
    return true
  } catch {
    database.exec('rollback')
    return false
  }
}

/** What everybody gets who asks for all files, her own and the other's. */
async function readEverything({ server, ann, bob }: Tenants) {
  const outcomes: ('right' | 'wrong' | 'stranger')[] = []
  async function read(file: TenantFile, headers: Record<string, string>, other: Tenant) {
    const { status, bytes, whole } = await receive(server, { path: file.path, headers })
    if (status !== 200) return
    const expected = whole ? file.truth : file.truth.subarray(0, bytes.length)
    const isOfOther = bytes.length > 0 && other.files.some(({ truth }) => startsLike(truth, bytes))
    outcomes.push(isOfOther ? 'stranger' : bytes.equals(expected) ? 'right' : 'wrong')
  }
  for (const [own, other] of [
    [ann, bob],
    [bob, ann],
  ] as const) {
    const requests = own.files.map((file) => read(file, file.headers, other))
    const foreign = other.files.map((file, index) =>
      read(file, (own.files[index] as TenantFile).headers, other),
    )
    await Promise.all([...requests, ...foreign])
  }
  return { stranger: outcomes.includes('stranger'), wrong: outcomes.includes('wrong') }
}

function startsLike(truth: Buffer, bytes: Buffer): boolean {
  const size = Math.min(truth.length, bytes.length)
  return truth.subarray(0, size).equals(bytes.subarray(0, size))
}
