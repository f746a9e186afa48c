import assert from 'node:assert/strict'
import { chmod, copyFile, cp, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, type TestContext, test } from 'node:test'
import { generateIdentity } from '@holdfast/seal'
import { testFolder } from '../../packages/server/test/helpers/cleanup.ts'
import {
  createSession,
  type Ended,
  holdfast,
  holdfastJson,
  refusedStart,
  type Settings,
  startServerProcess,
} from '../processes.ts'

const PERSON = ['--email', 'ann@example.com', '--name', 'Ann']
/** One that writes and one that reads; all open the store in the same way. */
const COMMANDS = [
  ['user', 'create', ...PERSON],
  ['token', 'list', '--email', 'ann@example.com'],
]

interface Store {
  readonly folder: string
  readonly data: string
  readonly key: string
  readonly settings: Settings
}

function storeIn(folder: string): Store {
  const data = join(folder, 'data')
  return { folder, data, key: `${data}.key`, settings: { HOLDFAST_DATA: data } }
}

/** A store that a server has made and left. */
async function makeStore(t: TestContext): Promise<Store> {
  const store = storeIn(await testFolder(t))
  const server = await startServerProcess(t, store.settings)
  assert.equal((await server.stop()).code, 0)
  return store
}

/** The same as a copy, which is quicker. */
async function stoppedStore(t: TestContext): Promise<Store> {
  const store = storeIn(await testFolder(t))
  await cp(template, store.folder, { recursive: true })
  return store
}

async function assertCommandsCannotRun(settings: Settings, reason: RegExp): Promise<void> {
  for (const words of COMMANDS) assertCouldNotRun(await holdfast(settings, ...words), reason)
}

function assertCouldNotRun(ended: Ended, reason: RegExp): void {
  assert.match(ended.stderr, /^holdfast: [^\n]+\n$/)
  assert.match(ended.stderr, reason)
  assert.deepEqual({ code: ended.code, stdout: ended.stdout }, { code: 2, stdout: '' })
}

function editDatabase(store: Store, statement: string): void {
  const database = new DatabaseSync(join(store.data, 'holdfast.db'))
  database.exec(statement)
  database.close()
}

let template: string

describe('commands without a server', { concurrency: 4 }, () => {
  const cleanups: (() => unknown)[] = []

  before(async () => {
    const suite = { after: (work: () => unknown) => cleanups.push(work) }
    const store = await makeStore(suite as unknown as TestContext)
    template = store.folder
  })

  after(async () => {
    for (const cleanup of cleanups) await cleanup()
  })

  test('they work on the folder of a stopped server, and the next server knows', async (t) => {
    const { settings } = await stoppedStore(t)
    const ann = await holdfastJson<{ identity_id: string }>(settings, 'user', 'create', ...PERSON)
    const { headers } = await createSession(settings, 'ann@example.com')
    const server = await startServerProcess(t, settings)
    const url = `${server.address}/identities/${ann.identity_id}`
    assert.equal((await fetch(url, { headers })).status, 200)
  })

  test('a missing or empty folder is refused, and nothing is made', async (t) => {
    const folder = await testFolder(t)
    const settings = { HOLDFAST_DATA: join(folder, 'data') }
    await assertCommandsCannotRun(settings, /there is no store in/)
    assert.deepEqual(await readdir(folder), [])
    await mkdir(settings.HOLDFAST_DATA)
    await assertCommandsCannotRun(settings, /there is no store in/)
    assert.deepEqual(await readdir(settings.HOLDFAST_DATA), [])
    assert.deepEqual(await readdir(folder), ['data'])
  })

  test('a folder that holds something else is refused, by the server too', async (t) => {
    const data = await testFolder(t)
    await writeFile(join(data, 'letter.txt'), 'mine')
    const settings = { HOLDFAST_DATA: data }
    await assertCommandsCannotRun(settings, /volume marker/)
    assert.deepEqual(await readdir(data), ['letter.txt'])
    assertCouldNotRun(await refusedStart(settings), /volume marker/)
  })

  test('a folder without its database is refused, and no database is made', async (t) => {
    const store = await stoppedStore(t)
    await rename(join(store.data, 'holdfast.db'), join(store.folder, 'elsewhere.db'))
    await assertCommandsCannotRun(store.settings, /there is no store in/)
    assert.ok(!(await readdir(store.data)).includes('holdfast.db'))
  })

  test('an older schema is refused', async (t) => {
    const store = await stoppedStore(t)
    editDatabase(store, 'delete from kysely_migration')
    await assertCommandsCannotRun(store.settings, /schema none/)
  })

  test('a newer schema is refused, by the server too', async (t) => {
    const store = await stoppedStore(t)
    editDatabase(
      store,
      "insert into kysely_migration (name, timestamp) values ('9999-future', '2100-01-01')",
    )
    await assertCommandsCannotRun(store.settings, /schema 9999-future/)
    assertCouldNotRun(await refusedStart(store.settings), /schema 9999-future/)
  })

  test('another format of the folder is refused', async (t) => {
    const store = await stoppedStore(t)
    await writeFile(
      join(store.data, 'holdfast-volume.json'),
      '{"format":99,"volume":"v","root":"r"}\n',
    )
    await assertCommandsCannotRun(store.settings, /format 99/)
    assertCouldNotRun(await refusedStart(store.settings), /format 99/)
  })

  test('a missing root key is refused by its public name, and none is made', async (t) => {
    const store = await stoppedStore(t)
    await rm(store.key)
    await assertCommandsCannotRun(store.settings, /root key \S+ is missing.*age1/)
    assertCouldNotRun(await refusedStart(store.settings), /root key \S+ is missing.*age1/)
    assert.deepEqual(await readdir(store.folder), ['data'])
  })

  test('a wrong or damaged root key is refused', async (t) => {
    const store = await stoppedStore(t)
    await writeFile(store.key, `${generateIdentity('x25519')}\n`)
    await assertCommandsCannotRun(store.settings, /wrong root key/)
    assertCouldNotRun(await refusedStart(store.settings), /wrong root key/)
    await writeFile(store.key, 'AGE-SECRET-KEY-1NONSENSE\n')
    const ended = await holdfast(store.settings, ...(COMMANDS[0] as string[]))
    assertCouldNotRun(ended, /holds no age identity/)
    assert.ok(!ended.stderr.includes('NONSENSE'), 'keys are not repeated')
  })

  test('a root key that others can read, or inside the data folder, is refused', async (t) => {
    const store = await stoppedStore(t)
    await chmod(store.key, 0o640)
    await assertCommandsCannotRun(store.settings, /chmod 600/)
    assertCouldNotRun(await refusedStart(store.settings), /chmod 600/)
    await chmod(store.key, 0o600)

    const inside = join(store.data, 'root.key')
    await copyFile(store.key, inside)
    const settings = { ...store.settings, HOLDFAST_ROOT_KEY_FILE: inside }
    await assertCommandsCannotRun(settings, /inside the data folder/)
    assertCouldNotRun(await refusedStart(settings), /inside the data folder/)
  })

  test('a database of another store is refused', async (t) => {
    const store = await stoppedStore(t)
    const other = await makeStore(t)
    await cp(join(other.data, 'holdfast.db'), join(store.data, 'holdfast.db'))
    assertCouldNotRun(await refusedStart(store.settings), /different stores/)
  })

  test('settings that cannot be used are refused', async (t) => {
    const { settings } = await stoppedStore(t)
    const bad = { ...settings, HOLDFAST_SMALL_MAX_KB: 'many' }
    await assertCommandsCannotRun(bad, /HOLDFAST_SMALL_MAX_KB/)
    const url = 'postgres://ann:secret@127.0.0.1:1/holdfast'
    const elsewhere = { ...settings, HOLDFAST_DATABASE_URL: url }
    await assertCommandsCannotRun(
      elsewhere,
      /PostgreSQL cannot be used: (?!.*secret).*ECONNREFUSED/,
    )
  })
})
