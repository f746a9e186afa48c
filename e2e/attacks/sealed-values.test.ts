/**
 * Somebody changes the sealed values of rows. Every table that has one is attacked, and read the way
 * that clients do: a value that is not what was sealed for exactly this row is an integrity error.
 */
import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import type { Core } from '../../packages/server/src/core/core.ts'
import { CoreError } from '../../packages/server/src/core/errors.ts'
import { SEALED_TABLES } from '../../packages/server/src/core/keys/sealed-tables.ts'
import { folderPaths } from '../../packages/server/src/store/folder.ts'
import { stored } from '../../packages/server/test/helpers/account.ts'
import { inPieces } from '../../packages/server/test/helpers/bytes.ts'
import {
  receive,
  startTenants,
  type Tenant,
  type Text,
} from '../../packages/server/test/helpers/tenants.ts'

type Row = Record<string, string | number | null>
type Read = (core: Core, row: Row, whose: Tenant) => Promise<unknown>

const readBlob: Read = async (core, { id, blob_id }) => {
  const blob = { id: String(id ?? blob_id), size: -1 }
  const sizes: unknown[] = []
  for await (const bytes of core.blobs.read(blob, 0, 1)) sizes.push(bytes.length)
  return sizes
}
const readFile: Read = (core, { file_id, id, company_id }, { person, companyId }) =>
  core.companyFiles.get(
    { identityId: person.id, companyId: String(company_id ?? companyId) },
    String(file_id ?? id),
  )
const page = { offset: 0, limit: 0 }

/** How a value of each table gets to somebody. Nobody is shown the names of companies so far. */
const READS: Record<string, Read | 'never read'> = {
  identity: (core, { id }) => core.identities.get(String(id)),
  api_token: (core, { identity_id }) => core.tokens.list(String(identity_id)),
  company: 'never read',
  blob: readBlob,
  blob_part: readBlob,
  small_content: readBlob,
  box: (core, { id }, { person }) => core.boxes.get(person.id, String(id)),
  box_event: (core, { box_id }, { person }) =>
    core.boxes.events(person.id, String(box_id), 'visible', page),
  box_key_share: (core, { hash }, { person }) => core.boxKeyShares.get(person.id, String(hash)),
  saved_file: (core, { identity_id }) => core.savedFiles.list(String(identity_id), page),
  category: (core, { owner_id }) => core.accountFiles.category(String(owner_id)),
  account_file: (core, { owner_id, id }) => core.accountFiles.get(String(owner_id), String(id)),
  pin: (core, { identity_id }) => core.pins.isSet(String(identity_id)),
  company_file: readFile,
  company_upload: readFile,
  preview: readFile,
}

test('a sealed value that was changed, cut off or taken from anywhere else is refused, in every table', async (t) => {
  const { server, ann, bob } = await startTenants(t)
  const database = new DatabaseSync(folderPaths(server.config.data).database, { timeout: 5000 })
  t.after(() => database.close())
  for (const tenant of [ann, bob]) await givePreview(server.core, database, tenant)
  // Sizes that were asked for do not matter here: only what is sealed is attacked.
  const tables = SEALED_TABLES.map(({ name, key }) => ({ name, key, rows: rowsOf(database, name) }))
  let attacks = 0
  for (const { name, key, rows } of tables) {
    const read = READS[name]
    assert.ok(read, `table ${name} has no attack`)
    assert.ok(rows.length >= 2, `table ${name} has no two rows to change about`)
    if (read === 'never read') continue
    const [row] = rows as [StoredRow]
    const where = key.map((column) => `${column} = ?`).join(' and ')
    const put = database.prepare(`update ${name} set sealed = ? where ${where}`)
    const set = (value: Uint8Array) =>
      put.run(value, ...key.map((column) => row.columns[column] as string | number))
    const whose = JSON.stringify(row.columns).includes(ann.person.id) ? ann : ownerOf(row, ann, bob)

    const others = tables.flatMap((table) =>
      table.rows
        .filter((other) => other !== row)
        .slice(0, table.name === name ? undefined : 1)
        .map(({ sealed }, index) => [`value ${index} of ${table.name}`, sealed] as const),
    )
    for (const [what, value] of [...damages(row.sealed), ...others]) {
      set(value)
      await assert.rejects(
        async () => read(server.core, row.columns, whose),
        (error) => error instanceof CoreError && error.code === 'integrity',
        `${name}: ${what}`,
      )
      attacks += 1
    }
    set(row.sealed)
  }
  assert.ok(attacks > 400, `${attacks} attacks`)
  for (const request of [...ann.files, ...bob.files, ...ann.texts, ...bob.texts]) {
    assert.equal((await receive(server, request)).status, 200, `${request.path}, put right`)
  }
})

test('a list with one damaged row is refused as a whole, counted, and the log says which row', async (t) => {
  const { server, ann } = await startTenants(t)
  const database = new DatabaseSync(folderPaths(server.config.data).database, { timeout: 5000 })
  t.after(() => database.close())
  const lists: [table: string, owner: string, id: string, path: string][] = [
    ['account_file', 'owner_id', ann.person.id, '/api/files'],
    ['account_file', 'owner_id', ann.person.id, '/api/files?page=1'],
    ['account_file', 'owner_id', ann.person.id, '/api/files?sort=filename&page=1'],
    ['saved_file', 'identity_id', ann.person.id, '/saved-files'],
    ['box_event', 'box_id', ann.boxId, `/boxes/${ann.boxId}/events`],
    ['box_event', 'box_id', ann.boxId, `/boxes/${ann.boxId}/files`],
    ['box', 'id', ann.boxId, '/boxes/joined'],
    ['api_token', 'identity_id', ann.person.id, '/v1/tokens'],
  ]
  for (const [table, owner, id, path] of lists) {
    const target = targetOf(database, table, owner, id, path.endsWith('/files'))
    const set = database.prepare(`update ${table} set sealed = ? where id = ?`)
    set.run(Buffer.alloc(target.sealed.length, 1), target.id)
    server.logged.length = 0
    const request = ann.texts.find((text) => text.path === path) ?? {
      ...(ann.texts.find((text) => path.startsWith(text.path)) as Tenant['texts'][0]),
      path,
    }
    const before = await failuresOf(server.app.metrics.integrityFailures, request.dialect)
    const answer = await receive(server, request)
    assert.ok(answer.status === 500 || !answer.whole, `${path} answered ${answer.status}`)
    const after = await failuresOf(server.app.metrics.integrityFailures, request.dialect)
    assert.equal(after - before, 1, `${path}: counted`)
    const line = server.logged.find(({ msg, level }) => msg === 'failed' && level === 50)
    assert.ok(
      JSON.stringify(line).includes(`${table} ${target.id}`),
      `${path}: ${JSON.stringify(line)}`,
    )
    set.run(target.sealed, target.id)
    assert.equal((await receive(server, request)).status, 200, `${path}, put right`)
  }
})

test('a long list that meets a damaged row on its way is cut, and that is counted', async (t) => {
  const { server, ann } = await startTenants(t)
  const database = new DatabaseSync(folderPaths(server.config.data).database, { timeout: 5000 })
  t.after(() => database.close())
  const names = Array.from({ length: 700 }, (_, index) => `file ${index}`)
  await Promise.all(names.map((name) => stored(server, ann.person, name)))
  database
    .prepare(
      'update account_file set sealed = zeroblob(100) where n = (select min(n) from account_file)',
    )
    .run()
  const [list] = ann.texts as [Text]
  const answer = await receive(server, list)
  assert.deepEqual([list.path, answer.status, answer.whole], ['/api/files', 200, false])
  assert.equal(await failuresOf(server.app.metrics.integrityFailures, 'privasfer'), 1)
})

/** As a renderer does that has taken the job. */
async function givePreview(core: Core, database: DatabaseSync, tenant: Tenant): Promise<void> {
  const id = String(tenant.files.find(({ dialect }) => dialect === 'twake')?.id)
  const file = { id, companyId: tenant.companyId }
  const owner = 'renderer'
  database
    .prepare(
      `insert into preview_job
         (file_id, blob_id, state, slow, attempts, leased_until, lease_owner, created_at)
       select id, blob_id, 'waiting', 0, 1, 0, ?, 0 from company_file where id = ?`,
    )
    .run(owner, id)
  const { blob_id } = database.prepare('select blob_id from company_file where id = ?').get(id) as {
    blob_id: string
  }
  const staged = await core.blobs.stage(inPieces(Buffer.from('picture')), 100)
  await core.previewJobs.finish(
    { file, format: { kind: 'image', extension: 'png' }, blob: { id: blob_id, size: 0 }, owner },
    [{ staged, type: 'image/webp', width: 1, height: 1 }],
  )
}

interface StoredRow {
  readonly columns: Row
  readonly sealed: Uint8Array
}

function rowsOf(database: DatabaseSync, table: string): StoredRow[] {
  const rows = database.prepare(`select * from ${table} where sealed is not null`).all()
  return rows.map(({ sealed, ...columns }) => ({
    columns: columns as Row,
    sealed: sealed as Uint8Array,
  }))
}

function ownerOf({ columns }: StoredRow, ann: Tenant, bob: Tenant): Tenant {
  const text = JSON.stringify(columns)
  return [bob.boxId, bob.companyId, bob.person.id].some((id) => text.includes(id)) ? bob : ann
}

function targetOf(
  database: DatabaseSync,
  table: string,
  owner: string,
  id: string,
  isFileOfBox: boolean,
): { id: string; sealed: Uint8Array } {
  const more = table === 'box_event' && isFileOfBox ? `and type = 'msg.file'` : ''
  return database
    .prepare(
      `select id, sealed from ${table} where ${owner} = ? and sealed is not null ${more} limit 1`,
    )
    .get(id) as { id: string; sealed: Uint8Array }
}

/** A bit turned in each field, and every way to cut it off. */
function damages(sealed: Uint8Array): [string, Uint8Array][] {
  const end = sealed.length
  const fields = {
    version: 0,
    epoch: 4,
    nonce: 5,
    'end of nonce': 16,
    text: 17,
    tag: end - 16,
    end: end - 1,
  }
  const flips = Object.entries(fields).map(([field, at]): [string, Uint8Array] => {
    const turned = Uint8Array.from(sealed)
    turned[at] = (turned[at] ?? 0) ^ 1
    return [`a bit of its ${field}`, turned]
  })
  const cuts = [0, 1, 5, 17, 32, 33, end - 16, end - 1]
    .filter((size) => size < end)
    .map((size): [string, Uint8Array] => [`${size} bytes of it`, sealed.slice(0, size)])
  return [
    ...flips,
    ...cuts,
    ['zeros', new Uint8Array(end)],
    ['more', Buffer.concat([sealed, sealed])],
  ]
}

async function failuresOf(
  counter: { get(): Promise<{ values: { labels: object; value: number }[] }> },
  dialect: string,
): Promise<number> {
  const { values } = await counter.get()
  return (
    values.find(({ labels }) => (labels as { dialect?: string }).dialect === dialect)?.value ?? 0
  )
}
