import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { migrate } from '../../../src/store/database/migrate.ts'
import { openServerDatabase } from '../../../src/store/database/sqlite.ts'
import { testFolder } from '../../helpers/cleanup.ts'

const PAGE = new URL('../../../../../docs/database.md', import.meta.url)

test('docs/database.md names every table and column of a fresh database, and no other', async (t) => {
  const file = join(await testFolder(t), 'holdfast.db')
  const database = await openServerDatabase(file, migrate, assert.ifError)
  await database.close()
  const documented = parsePage(await readFile(PAGE, 'utf8'))
  assert.deepEqual(documented, tablesOf(file))
})

/** Columns by table, both sorted. */
type Tables = Record<string, string[]>

function tablesOf(file: string): Tables {
  const database = new DatabaseSync(file, { readOnly: true })
  const rows = database
    .prepare(
      `select m.name as "table", c.name as "column"
       from sqlite_master m join pragma_table_xinfo(m.name) c
       where m.type = 'table' and m.name not like 'sqlite\\_%' escape '\\'
         and m.name not like 'kysely\\_%' escape '\\'
         and not exists (select 1 from sqlite_master v where v.sql like 'create virtual table%'
           and m.name like v.name || '\\_%' escape '\\')
         and c.hidden in (0, 2, 3)
       order by m.name, c.name`,
    )
    .all() as { table: string; column: string }[]
  database.close()
  return grouped(rows.map(({ table, column }) => [table, column]))
}

/** `## table`, then rows that begin with the column's name between backticks. */
function parsePage(page: string): Tables {
  const pairs: [string, string][] = []
  let table = ''
  for (const line of page.split('\n')) {
    table = /^## (\w+)$/.exec(line)?.[1] ?? (line.startsWith('## ') ? '' : table)
    const column = /^\| `(\w+)` \|/.exec(line)?.[1]
    if (table && column) pairs.push([table, column])
  }
  return grouped(pairs)
}

function grouped(pairs: readonly (readonly [string, string])[]): Tables {
  const tables: Tables = {}
  for (const [table, column] of pairs) {
    tables[table] ??= []
    tables[table].push(column)
  }
  const sorted = Object.entries(tables).sort(([one], [other]) => (one < other ? -1 : 1))
  return Object.fromEntries(sorted.map(([table, columns]) => [table, columns.sort(compare)]))
}

function compare(one: string, other: string): number {
  return one < other ? -1 : 1
}
