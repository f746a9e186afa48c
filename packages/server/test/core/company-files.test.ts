import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { QueryResult } from 'kysely'
import type { Config } from '../../src/config.ts'
import type { CompanyCaller } from '../../src/core/company-files/records.ts'
import { type Core, createCore } from '../../src/core/core.ts'
import { openKeyring } from '../../src/core/keys/keyring.ts'
import { databasePlaceOf, openStore } from '../../src/open.ts'
import { readRootKey } from '../../src/store/root-key.ts'
import { collect, inPieces, pattern } from '../helpers/bytes.ts'
import { atEnd } from '../helpers/cleanup.ts'
import { sendChunk } from '../helpers/companies.ts'
import { eventually } from '../helpers/http.ts'
import { assertRefused } from '../helpers/refusals.ts'
import type { TestClock } from '../helpers/server.ts'
import { openTestStore, rowsOf, type TestStore, tamper } from '../helpers/store.ts'
import { objectNames } from '../helpers/test-blobs.ts'

const DAY = 24 * 3600 * 1000
const MIB = 1024 * 1024

interface Scene extends TestStore {
  readonly mia: CompanyCaller
  readonly app: CompanyCaller
}

async function scene(
  t: Parameters<typeof openTestStore>[0],
  environment: NodeJS.ProcessEnv = {},
): Promise<Scene> {
  const store = await openTestStore(t, environment)
  const { identities, companies } = store.core
  const person = await identities.createPerson({ email: 'mia@example.com', name: 'Mia' })
  const { id: companyId } = await companies.create({
    name: 'Acme',
    owners: [],
    managers: [],
    members: [person.id],
  })
  const { applicationId } = await companies.createApplication(companyId, 'Editor')
  return {
    ...store,
    mia: { identityId: person.id, companyId },
    app: { identityId: applicationId, companyId },
  }
}

async function create(core: Core, caller: CompanyCaller, bytes: Uint8Array) {
  const staged = await core.blobs.stage(inPieces(bytes), Number.POSITIVE_INFINITY)
  return core.companyFiles.create(caller, { name: 'secret-plan.txt' }, staged)
}

const storedParts = (store: TestStore) => objectNames(store.config, 'blobs')

test('an upload that nobody goes on with is forgotten after seven days, with its bytes', async (t) => {
  const place = await scene(t)
  const { core, clock, mia } = place
  const untouched = await core.companyUploads.begin(mia, {})
  const { id } = await core.companyUploads.begin(mia, { totalChunks: 3 })
  clock.advance(6 * DAY)
  await sendChunk(core, mia, id, { number: 1 }, pattern(10))
  clock.advance(DAY)
  assert.equal(await core.companyUploads.expire(), 1)
  await assertRefused(core.companyFiles.get(mia, untouched.id), 'company_file_not_found')
  await sendChunk(core, mia, id, { number: 2 }, pattern(10))

  clock.advance(7 * DAY)
  await assertRefused(core.companyFiles.get(mia, id), 'company_file_not_found')
  await assertRefused(
    sendChunk(core, mia, id, { number: 3 }, pattern(10)),
    'company_file_not_found',
  )
  assert.equal((await storedParts(place)).length, 2)
  assert.equal(await core.companyUploads.expire(), 1)
  assert.deepEqual(await storedParts(place), [])
})

test('how long that takes can be set', async (t) => {
  const { core, clock, mia } = await scene(t, { HOLDFAST_UPLOAD_EXPIRY: '90m' })
  const { id } = await core.companyUploads.begin(mia, {})
  clock.advance(90 * 60 * 1000 - 1)
  assert.equal(await core.companyUploads.expire(), 0)
  await core.companyFiles.get(mia, id)
  clock.advance(1)
  assert.equal(await core.companyUploads.expire(), 1)
})

test('an overwrite that is given up leaves the file as it was', async (t) => {
  const place = await scene(t)
  const { core, clock, mia, app } = place
  const file = await create(core, mia, pattern(100_000))
  await sendChunk(core, app, file.id, { number: 1, totalChunks: 2 }, pattern(10, 2))
  assert.equal((await storedParts(place)).length, 2)
  clock.advance(7 * DAY)
  assert.equal(await core.companyUploads.expire(), 1)
  assert.equal((await storedParts(place)).length, 1)
  assert.deepEqual(await core.companyFiles.get(mia, file.id), file)
})

test('a whole file never expires', async (t) => {
  const { core, clock, mia } = await scene(t)
  const { id } = await core.companyUploads.begin(mia, {})
  await sendChunk(core, mia, id, {}, pattern(10))
  clock.advance(1000 * DAY)
  assert.equal(await core.companyUploads.expire(), 0)
  assert.equal((await core.companyFiles.get(mia, id)).whole, true)
})

for (const [size, where] of [
  [5, 'in the database'],
  [MIB, 'in the store'],
] as const) {
  test(`who opened content ${where} gets it whole after an overwrite, and then it goes`, async (t) => {
    const place = await scene(t)
    const { core, mia } = place
    const old = pattern(size, 1)
    const { id } = await create(core, mia, old)
    const { blob, close } = await core.companyFiles.open(mia, id)
    await sendChunk(core, place.app, id, { number: 1 }, pattern(size, 2))
    assert.deepEqual(Buffer.from(await collect(core.blobs.read(blob, 0, size))), Buffer.from(old))
    close()
    await eventually(async () => (await rowsOf(place.config, 'select id from blob')).length === 1)
    const left = await rowsOf(place.config, 'select blob_id from small_content')
    assert.equal(left.length, size === MIB ? 0 : 1)
    const now = await core.companyFiles.open(mia, id)
    assert.deepEqual(
      Buffer.from(await collect(core.blobs.read(now.blob, 0, size))),
      Buffer.from(pattern(size, 2)),
    )
    now.close()
  })
}

test('a quota is checked when an upload is announced, when a chunk announces it, and when it comes whole', async (t) => {
  const place = await scene(t, { HOLDFAST_COMPANY_QUOTA_MB: '1' })
  const { core, mia, app } = place
  await assertRefused(core.companyUploads.begin(mia, { totalSize: MIB + 1 }), 'quota_exceeded')
  const { id } = await core.companyUploads.begin(mia, { totalSize: MIB - 100 })
  await assertRefused(core.companyUploads.begin(mia, { totalSize: 101 }), 'quota_exceeded')

  const unannounced = await core.companyUploads.begin(mia, {})
  let read = 0
  async function* counted() {
    read += 1
    yield pattern(10)
  }
  await assertRefused(
    core.companyChunks.receive(
      mia,
      unannounced.id,
      { number: 1, totalChunks: 2, totalSize: 101 },
      counted(),
    ),
    'quota_exceeded',
  )
  assert.equal(read, 0)
  await assertRefused(sendChunk(core, mia, unannounced.id, {}, pattern(101)), 'file_too_large')
  await assertRefused(create(core, mia, pattern(101)), 'quota_exceeded')
  await create(core, mia, pattern(100))
  assert.equal(await core.companyFiles.room(mia), 0)

  assert.equal((await sendChunk(core, mia, id, {}, pattern(MIB - 100))).whole, true)
  assert.equal(await core.companyFiles.room(mia), 0)
  await sendChunk(core, app, id, {}, pattern(MIB - 200))
  assert.equal(await core.companyFiles.room(mia), 100)
  await core.companyFiles.remove(mia, id)
  assert.equal(await core.companyFiles.room(mia), MIB - 100)
  assert.equal((await storedParts(place)).length, 0)
})

test('names are nowhere in the open, announced or whole', async (t) => {
  const place = await scene(t)
  const { core, mia, config } = place
  await create(core, mia, pattern(10))
  await core.companyUploads.begin(mia, { name: 'secret-plan.txt', mime: 'application/x-secret' })
  for (const table of ['company_file', 'company_upload']) {
    const rows = await rowsOf(config, `select * from ${table}`)
    const text = rows.map((row) => Object.values(row).map((value) => Buffer.from(String(value))))
    assert.ok(!Buffer.concat(text.flat()).includes('secret'))
  }
})

test('a part in the place of another one is an integrity error, never bytes', async (t) => {
  const place = await scene(t)
  const { core, mia, config } = place
  const { id } = await core.companyUploads.begin(mia, { totalChunks: 2 })
  await sendChunk(core, mia, id, { number: 1 }, pattern(10, 1))
  await sendChunk(core, mia, id, { number: 2 }, pattern(10, 2))
  const [one, two] = await rowsOf(config, 'select object from blob_part order by number')
  const setObject = (object: string, number: number) =>
    tamper(config, 'update blob_part set object = ? where number = ?', object, number)
  await setObject('-', 1)
  await setObject(String(one?.object), 2)
  await setObject(String(two?.object), 1)
  const { blob } = await core.companyFiles.open(mia, id)
  await assertRefused(collect(core.blobs.read(blob, 0, blob.size)), 'integrity')
})

test('an application can overwrite a file that is damaged', async (t) => {
  const place = await scene(t)
  const { core, mia, app, config } = place
  const { id } = await core.companyUploads.begin(mia, { totalChunks: 2 })
  for (const number of [1, 2]) await sendChunk(core, mia, id, { number }, pattern(10, number))
  await tamper(config, "update blob_part set object = object || '-gone'")
  const claim = { totalChunks: 2, totalSize: 20 }
  for (const number of [1, 2]) await sendChunk(core, app, id, { ...claim, number }, pattern(10, 9))
  const { blob } = await core.companyFiles.open(mia, id)
  const content = await collect(core.blobs.read(blob, 0, blob.size))
  assert.deepEqual(content, Buffer.concat([pattern(10, 9), pattern(10, 9)]))
})

test('a file that becomes whole while another server looks at it is there', async (t) => {
  const { core, config, clock, mia } = await scene(t)
  const { id } = await core.companyUploads.begin(mia, { totalChunks: 1 })
  const chunk = await core.companyChunks.receive(mia, id, { number: 1 }, inPieces(pattern(10)))
  let isAccepted = false
  const other = await openOther(t, config, clock, async ({ rows: [row] }) => {
    const isFile = (row as { company_id?: string } | undefined)?.company_id === mia.companyId
    if (!isFile || isAccepted) return
    isAccepted = true
    await core.companyChunks.accept(mia, id, { number: 1 }, chunk)
  })
  assert.equal((await other.companyFiles.get(mia, id)).whole, true)
})

/** The core of another process on the same store. @param afterRead runs after each of its queries */
async function openOther(
  t: TestContext,
  config: Config,
  clock: TestClock,
  afterRead: (result: QueryResult<unknown>) => Promise<void>,
): Promise<Core> {
  const database = await databasePlaceOf(config).openForCommand()
  const store = await openStore(config)
  atEnd(t, async () => {
    await store.close()
    await database.close()
  })
  const root = await readRootKey(config.rootKeyFile, config.data)
  assert.ok(root)
  const read = database.read.withPlugin({
    transformQuery: ({ node }) => node,
    async transformResult({ result }) {
      await afterRead(result)
      return result
    },
  })
  return createCore({
    ...{ database: { ...database, read }, store, clock: clock.read },
    ...{ keyring: await openKeyring(store, root), sharedClock: undefined },
    ...config,
  })
}
