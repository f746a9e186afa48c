import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { LINKING_TABLES } from '../../../src/core/blobs/links.ts'
import {
  SEALED_TABLES,
  type SealedValue,
  sealedValues,
} from '../../../src/core/keys/sealed-tables.ts'
import { MOVED_TABLES } from '../../../src/core/move/tables.ts'
import { migrate } from '../../../src/store/database/migrate.ts'
import { openServerDatabase } from '../../../src/store/database/sqlite.ts'
import { testFolder } from '../../helpers/cleanup.ts'

test('every column named sealed is known, with the primary key of its table', async (t) => {
  const file = join(await testFolder(t), 'holdfast.db')
  await (await openServerDatabase(file, migrate, assert.ifError)).close()
  const database = new DatabaseSync(file, { readOnly: true })
  const found = database
    .prepare(
      `select m.name as "table", (select group_concat(k.name order by k.pk)
         from pragma_table_info(m.name) k where k.pk > 0) as key
       from sqlite_master m join pragma_table_info(m.name) c
       where m.type = 'table' and c.name = 'sealed' order by m.name`,
    )
    .all() as { table: string; key: string }[]
  database.close()
  const known = SEALED_TABLES.map(({ name, key }) => ({ table: name, key: key.join(',') }))
  assert.deepEqual(
    known.sort((one, other) => (one.table < other.table ? -1 : 1)),
    found.map((row) => ({ ...row })),
  )
})

test('every table whose blob_id keeps a blob alive is known, and so is what its rows were sealed for', async (t) => {
  const file = join(await testFolder(t), 'holdfast.db')
  await (await openServerDatabase(file, migrate, assert.ifError)).close()
  const database = new DatabaseSync(file, { readOnly: true })
  const found = database
    .prepare(
      `select m.name from sqlite_master m join pragma_table_info(m.name) c
       where m.type = 'table' and c.name = 'blob_id' order by m.name`,
    )
    .all()
    .map(({ name }) => String(name))
  const references = database
    .prepare(
      `select distinct m.name from sqlite_master m join pragma_foreign_key_list(m.name) f
       where f."table" = 'blob' order by m.name`,
    )
    .all()
    .map(({ name }) => String(name))
  database.close()
  const linking = LINKING_TABLES.map(({ name }) => name)
  // They are the blob's own, and go with it.
  const content = ['blob_part', 'small_content']
  // These go when the blob does: a finding is forgotten, a job is dropped.
  const mentions = ['preview_job', 'scrub_finding']
  assert.deepEqual(references, [...linking, ...content].sort())
  assert.deepEqual(found, [...linking, ...content, ...mentions].sort())
  const sealed = SEALED_TABLES.filter(({ link }) => link).map(({ name }) => name)
  assert.deepEqual(sealed.sort(), linking.toSorted())
})

test('every table is moved with a store, by its primary key and behind those that it refers to', async (t) => {
  const file = join(await testFolder(t), 'holdfast.db')
  await (await openServerDatabase(file, migrate, assert.ifError)).close()
  const database = new DatabaseSync(file, { readOnly: true })
  const tables = database
    .prepare(
      `select m.name, (select group_concat(k.name order by k.pk)
         from pragma_table_info(m.name) k where k.pk > 0) as key,
         (select group_concat(distinct f."table") from pragma_foreign_key_list(m.name) f) as parents
       from sqlite_master m where m.type = 'table' and m.sql not like '%virtual%'
         and m.name not like 'sqlite%' and m.name not like 'kysely%' and m.name not like 'name_search%'
       order by m.name`,
    )
    .all() as { name: string; key: string; parents: string | null }[]
  database.close()
  // Written anew; waiting for the index; of processes that run.
  const ofProcesses = ['lease', 'request_window', 'server_process', 'staged_object']
  const others = ['meta', 'search_todo', ...ofProcesses]
  const wanted = tables.filter(({ name }) => !others.includes(name))
  const moved = MOVED_TABLES.map(({ name, key }) => ({ name, key: key.join(',') }))
  assert.deepEqual(
    moved.toSorted((one, other) => (one.name < other.name ? -1 : 1)),
    wanted.map(({ name, key }) => ({ name, key })),
  )
  const order: string[] = moved.map(({ name }) => name)
  for (const { name, parents } of wanted) {
    for (const parent of parents?.split(',') ?? []) {
      assert.ok(order.indexOf(parent) < order.indexOf(name), `${name} comes behind ${parent}`)
    }
  }
})

test('what an epoch has sealed is found in every table by an index', async (t) => {
  const file = join(await testFolder(t), 'holdfast.db')
  await (await openServerDatabase(file, migrate, assert.ifError)).close()
  const database = new DatabaseSync(file, { readOnly: true })
  for (const { name } of SEALED_TABLES) {
    const plan = database
      .prepare(`explain query plan select sealed from ${name} where substr(sealed, 2, 4) = ?`)
      .all(Buffer.alloc(4))
    assert.match(
      String(plan[0]?.detail),
      new RegExp(`^SEARCH ${name} USING INDEX ${name}_sealed_epoch `),
      'a migration that makes a table with a sealed column makes this index',
    )
  }
  database.close()
})

test('the values of each table come in batches, each value once, with its row and tenant', async (t) => {
  const file = join(await testFolder(t), 'holdfast.db')
  const database = await openServerDatabase(file, migrate, assert.ifError)
  fillTables(file)
  for (const table of SEALED_TABLES) {
    const found: SealedValue[] = []
    for (let after: SealedValue['key'] | undefined; ; after = found.at(-1)?.key) {
      const batch = await sealedValues(database.read, table, 2, after)
      found.push(...batch)
      if (batch.length < 2) break
    }
    assert.deepEqual(
      found.map(({ key, row, tenant, sealed }) => [
        key.join('.'),
        row,
        tenant,
        Buffer.from(sealed).toString(),
      ]),
      EXPECTED[table.name],
      table.name,
    )
  }
  await database.close()
})

const values = (...rows: [key: string, row: string, tenant: string][]) =>
  rows.map((row, index) => [...row, `value ${index}`])
const ofItself = values(['a', 'a', 'a'], ['b', 'b', 'b'], ['c', 'c', 'c'])
const ofNobody = values(['a', 'a', ''], ['b', 'b', ''], ['c', 'c', ''])
const ofTenant = values(['a', 'a', 't-a'], ['b', 'b', 't-b'], ['c', 'c', 't-c'])
const numbered = values(['1', 'a', 't-a'], ['2', 'b', 't-b'], ['3', 'c', 't-c'])

const EXPECTED: Partial<Record<string, string[][]>> = {
  identity: ofNobody,
  api_token: ofTenant,
  company: ofItself,
  blob: ofNobody,
  blob_part: values(['a.2', 'a.2', ''], ['a.10', 'a.10', ''], ['b.1', 'b.1', '']),
  small_content: ofNobody,
  box: ofItself,
  box_event: numbered,
  box_key_share: ofTenant,
  saved_file: numbered,
  category: ofTenant,
  account_file: numbered,
  pin: ofItself,
  company_file: ofTenant,
  company_upload: ofTenant,
  preview: values(['a.a', 'a.a', 't-a'], ['b.b', 'b.b', 't-b'], ['c.c', 'c.c', 't-c']),
}

/** Three rows in each table, and one without a value where a table may have such. */
function fillTables(file: string): void {
  const database = new DatabaseSync(file, { enableForeignKeyConstraints: false })
  const tenants: Record<string, string> = {
    api_token: 'identity_id',
    box_event: 'box_id',
    box_key_share: 'box_id',
    saved_file: 'identity_id',
    category: 'owner_id',
    account_file: 'owner_id',
    company_file: 'company_id',
  }
  for (const { name, key } of SEALED_TABLES) {
    for (const [index, row] of ['a', 'b', 'c'].entries()) {
      const columns: Record<string, string | number> = {}
      if (name === 'blob_part') {
        const [blob, number] =
          [['a', 2] as const, ['a', 10] as const, ['b', 1] as const][index] ?? []
        Object.assign(columns, { blob_id: blob, number, object: `${index}` })
      } else {
        for (const column of key) columns[column] = column === 'n' ? index + 1 : row
        if (key[0] === 'n') columns.id = row
      }
      if (tenants[name]) columns[tenants[name]] = `t-${row}`
      insert(database, name, { ...columns, sealed: Buffer.from(`value ${index}`) })
    }
  }
  insert(database, 'blob', { id: 'aa', sealed: null })
  database.close()
}

/** Fills the columns that are not given with something that fits. */
function insert(
  database: DatabaseSync,
  table: string,
  given: Record<string, string | number | Buffer | null>,
): void {
  const columns = database
    .prepare(`select name, lower(type) as type, "notnull" as required
    from pragma_table_info(?)`)
    .all(table) as { name: string; type: string; required: number }[]
  const row: Record<string, string | number | Buffer | null> = { ...given }
  for (const { name, type, required } of columns) {
    if (name in row || required === 0) continue
    row[name] =
      type === 'text' ? crypto.randomUUID() : type === 'blob' ? Buffer.from(crypto.randomUUID()) : 0
  }
  const names = Object.keys(row)
  database
    .prepare(
      `insert into ${table} (${names.join(', ')}) values (${names.map(() => '?').join(', ')})`,
    )
    .run(...Object.values(row))
}
