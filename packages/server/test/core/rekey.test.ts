import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import fc from 'fast-check'
import type { CompanyCaller } from '../../src/core/company-files/records.ts'
import type { Core } from '../../src/core/core.ts'
import { sealedBytes, sealedJson } from '../../src/core/keys/sealed-column.ts'
import { SEALED_TABLES, sealedValues } from '../../src/core/keys/sealed-tables.ts'
import { resealColumns } from '../../src/core/rekey/columns.ts'
import type { RekeyProgress, RekeyReport } from '../../src/core/rekey/rekey.ts'
import type { IdentityProfile } from '../../src/core/schema.ts'
import { databasePlaceOf } from '../../src/open.ts'
import { fileOf, held } from '../helpers/blobs.ts'
import { assertSameBytes, collect, inPieces, pattern } from '../helpers/bytes.ts'
import { atEnd } from '../helpers/cleanup.ts'
import { sendChunk } from '../helpers/companies.ts'
import { atOnce, epochsIn, epochsOf, openCommand, reopen } from '../helpers/epochs.ts'
import { keyringOf } from '../helpers/keyring.ts'
import { filesBelow, openTestStore, type TestStore, tamper } from '../helpers/store.ts'
import { flipByte } from '../helpers/stored.ts'

const RUNS = process.env.SLOW ? 100 : 5
const CHUNK = 150_000
const LATER = Number.MAX_SAFE_INTEGER

describe('keys rekey', { concurrency: 4 }, () => {
  it('seals everything anew, destroys the old keys, and every byte and name is as it was', async (t) => {
    const scene = await fillStore(t)
    const before = await filesBelow(join(scene.store.config.data, 'blobs'))
    await scene.store.core.epochs.begin(atOnce)
    const progress: RekeyProgress[] = []
    const report = await finished(scene.store.core, progress)
    const total = report.parts + report.columns
    assert.deepEqual(progress[0], { done: 0, total })
    assert.deepEqual(progress.at(-1), { done: total, total })
    assert.deepEqual(report, {
      current: 2,
      dropped: [1],
      left: [],
      parts: 6,
      bytes: 1_300_000 + 3 * CHUNK + CHUNK + 100_000,
      columns: report.columns,
      damaged: 0,
    })
    const after = await filesBelow(join(scene.store.config.data, 'blobs'))
    assert.equal(after.length, before.length)
    assert.deepEqual(
      after.filter((name) => before.includes(name)),
      [],
    )
    await assertRekeyed(t, scene)
    assert.deepEqual(await finished(scene.store.core), {
      ...{ current: 2, dropped: [], left: [], parts: 0, bytes: 0, columns: 0, damaged: 0 },
    })
  })

  it('can be stopped at any step, and the next run finishes', async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(12), fc.boolean()), { minLength: 1, maxLength: 4 }),
        async (stops) => {
          const scene = await fillStore(t)
          await scene.store.core.epochs.begin(atOnce)
          for (const [steps, isRestarted] of stops) {
            const run = scene.store.core.rekey.run(atOnce)
            for (let step = 0; step < steps; step += 1) await run.next()
            // Nothing is told that it ends, as in a kill.
            if (isRestarted) scene.store = await reopen(t, scene.store)
            await scene.store.core.sweep(LATER)
            await assertContent(scene)
          }
          await finished(scene.store.core)
          await assertRekeyed(t, scene)
          await scene.store.close()
        },
      ),
      { numRuns: RUNS },
    )
  })

  it('lets those who read go on, in one part and in many', async (t) => {
    const { store, mia, files } = await fillStore(t)
    const slow = await Promise.all(
      files.map(async ({ id, bytes }) => {
        const { blob } = await store.core.companyFiles.open(mia, id)
        const reading = store.core.blobs.read(blob, 7, bytes.length - 7)
        const first = await reading.next()
        return { reading, read: [first.value as Uint8Array], expected: bytes.subarray(7, -7) }
      }),
    )
    const command = await openCommand(t, store.config)
    await command.epochs.begin(() => store.core.epochs.follow())
    assert.deepEqual((await finished(command)).dropped, [1])
    await store.core.epochs.follow()
    for (const { reading, read, expected } of slow) {
      for await (const bytes of reading) read.push(bytes)
      assertSameBytes(Buffer.concat(read), expected)
    }
  })

  it('begins a copy again that the server has cleared away while it was written', async (t) => {
    const scene = await fillStore(t)
    await scene.store.core.epochs.begin(atOnce)
    const command = await openCommand(t, scene.store.config)
    let pauses = 0
    const run = command.rekey.run(async () => {
      pauses += 1
      // By then the first copy is on its way.
      if (pauses === 2) await scene.store.core.clearUnfinished()
    })
    let step = await run.next()
    while (!step.done) step = await run.next()
    assert.deepEqual([step.value.dropped, step.value.parts], [[1], 6])
    await assertRekeyed(t, scene)
  })

  it('takes what came in chunks that were sealed before the epoch ended', async (t) => {
    const { store, mia, upload } = await fillStore(t)
    const { core } = store
    const claim = { number: 2 }
    const chunk = await core.companyChunks.receive(mia, upload.id, claim, inPieces(pattern(CHUNK)))
    await core.epochs.begin(atOnce)
    const run = core.rekey.run(atOnce)
    // All parts are done when a step has sealed a column.
    const total = 6
    for (let step = await run.next(); !step.done && step.value.done <= total; )
      step = await run.next()
    await core.companyChunks.accept(mia, upload.id, claim, chunk)
    let step = await run.next()
    while (!step.done) step = await run.next()
    assert.deepEqual(step.value.dropped, [1])
    assert.equal(step.value.parts, 7)
  })

  it('refuses a chunk that was sealed to an epoch that is gone, and the next try works', async (t) => {
    const { store, mia, upload } = await fillStore(t)
    const { core } = store
    const claim = { number: 2 }
    const chunk = await core.companyChunks.receive(mia, upload.id, claim, inPieces(pattern(CHUNK)))
    await core.epochs.begin(atOnce)
    await finished(core)
    await assert.rejects(core.companyChunks.accept(mia, upload.id, claim, chunk), {
      code: 'key_unavailable',
    })
    await sendChunk(core, mia, upload.id, claim, pattern(CHUNK))
    assert.equal((await held(store)).files.length, 7)
  })

  it('leaves what does not open as it is, keeps its epoch, and seals the rest', async (t) => {
    const { store, mia, files } = await fillStore(t)
    const [damaged] = files
    assert.ok(damaged)
    const { blob } = await store.core.companyFiles.open(mia, damaged.id)
    await flipByte(fileOf(store, blob.id), 1000)
    await tamper(store.config, `update company set sealed = substr(sealed, 1, length(sealed) - 1)`)
    await store.core.epochs.begin(atOnce)
    const report = await finished(store.core)
    assert.deepEqual([report.dropped, report.left, report.parts, report.damaged], [[], [1], 5, 2])
    assert.deepEqual(await epochsOf(store, 'company'), [1])
    assert.deepEqual(await epochsOf(store, 'identity'), [2])
    assert.deepEqual(await epochsIn(store.core), ['1 old x25519', '2 current x25519'])
    assert.deepEqual((await held(store)).files.length, 6)
  })

  it('keeps a change that comes between', async (t) => {
    const { store } = await fillStore(t)
    const { core, config } = store
    await core.epochs.begin(atOnce)
    const database = await databasePlaceOf(config).openForCommand()
    atEnd(t, () => database.close())
    const keyring = await keyringOf(store.config)
    const column = sealedJson<IdentityProfile>(keyring, 'identity')
    const [value] = await sealedValues(database.read, tableOf('identity'), 1)
    assert.ok(value)
    const changed = { ...column.open(value.row, '', value.sealed as never), displayName: 'New' }
    const interrupted: typeof database = {
      ...database,
      async write(work) {
        await tamper(
          config,
          'update identity set sealed = ? where id = ?',
          column.seal(value.row, '', changed),
          value.row,
        )
        return database.write(work)
      },
    }
    const resealing = resealColumns(interrupted, keyring, tableOf('identity'), 1, (work) => work())
    while (!(await resealing.next()).done);
    assert.equal((await core.identities.get(value.row)).profile.displayName, 'New')
    assert.deepEqual(await epochsOf(store, 'identity'), [2])
  })
})

interface Scene {
  store: TestStore
  readonly mia: CompanyCaller
  /** Whole files, of one part, of three, and in the database. */
  readonly files: { id: string; bytes: Buffer }[]
  /** The first of two chunks has come. */
  readonly upload: { id: string }
  readonly account: { id: string; bytes: Buffer }
}

/** A store with something of each kind. */
async function fillStore(t: TestContext): Promise<Scene> {
  const store = await openTestStore(t)
  const { core } = store
  const person = await core.identities.createPerson({ email: 'mia@example.com', name: 'Mia' })
  const staff = { owners: [], managers: [], members: [person.id] }
  const { id: companyId } = await core.companies.create({ name: 'Acme', ...staff })
  const mia = { identityId: person.id, companyId }
  await core.tokens.create(person.id, 'laptop')

  const files: Scene['files'] = []
  for (const bytes of [pattern(1_300_000), pattern(10)]) {
    const staged = await core.blobs.stage(inPieces(bytes), LATER)
    const { id } = await core.companyFiles.create(mia, { name: 'plan.txt' }, staged)
    files.push({ id, bytes })
  }
  const chunked = await core.companyUploads.begin(mia, { totalChunks: 3 })
  for (const number of [2, 1, 3]) {
    await sendChunk(core, mia, chunked.id, { number }, pattern(CHUNK, number))
  }
  files.push({ id: chunked.id, bytes: Buffer.concat([1, 2, 3].map((n) => pattern(CHUNK, n))) })
  const upload = await core.companyUploads.begin(mia, { totalChunks: 2 })
  await sendChunk(core, mia, upload.id, { number: 1 }, pattern(CHUNK, 4))

  const bytes = pattern(100_000, 5)
  const staged = await core.blobs.stage(inPieces(bytes), LATER)
  const named = { name: 'tax.pdf', type: 'application/pdf' }
  const { id } = await core.accountFiles.create(person.id, staged, named)
  return { store, mia, files, upload, account: { id, bytes } }
}

async function finished(core: Core, progress: RekeyProgress[] = []): Promise<RekeyReport> {
  const run = core.rekey.run(atOnce)
  for (;;) {
    const step = await run.next()
    if (step.done) return step.value
    progress.push(step.value)
  }
}

async function assertContent({ store, mia, files, account }: Scene): Promise<void> {
  const { blobs, companyFiles, accountFiles } = store.core
  for (const { id, bytes } of files) {
    const { blob } = await companyFiles.open(mia, id)
    assertSameBytes(await collect(blobs.read(blob, 0, bytes.length)), bytes)
  }
  const { file, blob } = await accountFiles.content(mia.identityId, account.id)
  assert.equal(file.fullName, 'tax.pdf')
  assertSameBytes(await collect(blobs.read(blob, 0, file.size)), account.bytes)
}

/** Nothing of epoch 1 is left, and everything opens with the keys that are on the disk. */
async function assertRekeyed(t: TestContext, scene: Scene): Promise<void> {
  const files = await filesBelow(join(scene.store.config.data, 'keyring'))
  assert.deepEqual(files, ['2.age', '2.columns.age', 'index.age'])
  for (const { name } of SEALED_TABLES) {
    const epochs = await epochsOf(scene.store, name)
    assert.ok(
      epochs.every((epoch) => epoch === 2),
      name,
    )
  }
  scene.store = await reopen(t, scene.store)
  assert.deepEqual(await epochsIn(scene.store.core), ['1 dropped gone', '2 current x25519'])
  await assertContent(scene)
  const { parts, files: objects } = await held(scene.store)
  assert.deepEqual([parts.length, objects.length], [6, 6])

  const database = await databasePlaceOf(scene.store.config).openForCommand()
  const keyring = await keyringOf(scene.store.config)
  for (const table of SEALED_TABLES) {
    const column = sealedBytes(keyring, table.name)
    for (const value of await sealedValues(database.read, table, 100)) {
      column.open(value.row, value.tenant, value.sealed)
    }
  }
  assert.deepEqual(await database.read.selectFrom('rekey_object').selectAll().execute(), [])
  await database.close()
}

function tableOf(name: string) {
  const table = SEALED_TABLES.find((known) => known.name === name)
  assert.ok(table)
  return table
}
