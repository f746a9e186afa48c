import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { partName } from '../../src/core/blobs/names.ts'
import { createKeeper, held, keep, LIMIT, link } from '../helpers/blobs.ts'
import { assertSameBytes, collect, inPieces, pattern } from '../helpers/bytes.ts'
import { filesBelow, openTestStore, type TestStore, tamper } from '../helpers/store.ts'

const runs = (count: number) => ({ numRuns: process.env.SLOW === '1' ? count * 20 : count })
const DAY_MS = 24 * 3600 * 1000
const NOTHING_DONE = { finished: 0, trashed: 0, suspicious: 0, removed: 0 }

describe('a sweep', { concurrency: 4 }, () => {
  it('of a store where nothing was interrupted does nothing', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const kept = [
      await keep(store, keeper, pattern(100)),
      await keep(store, keeper, pattern(100_000)),
    ]
    const before = await held(store)
    assert.deepEqual(await sweepLater(store), NOTHING_DONE)
    assert.deepEqual(await held(store), before)
    for (const blob of kept) {
      assertSameBytes(await collect(store.core.blobs.read(blob, 0, blob.size)), pattern(blob.size))
    }
  })

  it('moves an object that no row names to the trash, and removes it after a day', async (t) => {
    const store = await openTestStore(t)
    const name = await leaveObject(store)
    assert.deepEqual(await sweepLater(store), { ...NOTHING_DONE, trashed: 1 })
    const { files } = await held(store)
    assert.equal(files.length, 1)
    assert.match(files[0] ?? '', new RegExp(`^trash/${name.split('/').at(-1)}\\.`))

    store.clock.now = Date.now() + DAY_MS - 60_000
    assert.deepEqual(await sweepLater(store), NOTHING_DONE)
    assert.equal((await held(store)).files.length, 1)
    store.clock.now = Date.now() + DAY_MS + 60_000
    assert.deepEqual(await sweepLater(store), { ...NOTHING_DONE, removed: 1 })
    assert.deepEqual((await held(store)).files, [])
  })

  it('leaves what is younger than the start of the server: it may be an upload', async (t) => {
    const store = await openTestStore(t)
    const name = await leaveObject(store)
    assert.deepEqual(await store.core.sweep(Date.now() - 10_000), NOTHING_DONE)
    assert.deepEqual((await held(store)).files, [name])
  })

  it('leaves what this process has begun, however old a clock that was set back makes it', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const staged = await store.core.blobs.stage(inPieces(pattern(100_000)), LIMIT)
    assert.deepEqual(await sweepLater(store), NOTHING_DONE)
    await store.core.blobs.keep(staged, (writer) => link(writer, keeper, staged.id))
    assert.deepEqual(await sweepLater(store), NOTHING_DONE)
    assertSameBytes(await collect(store.core.blobs.read(staged, 0, staged.size)), pattern(100_000))
  })

  it('leaves unfinished objects alone: they may be uploads of the server', async (t) => {
    const store = await openTestStore(t)
    await writeFile(join(store.config.data, 'tmp', randomUUID()), 'x')
    assert.deepEqual(await sweepLater(store), NOTHING_DONE)
    assert.equal((await readdir(join(store.config.data, 'tmp'))).length, 1)
  })

  it('leaves everything when suspiciously much has no row, and says so', async (t) => {
    const store = await openTestStore(t)
    const names = await Promise.all(Array.from({ length: 101 }, () => leaveObject(store)))
    assert.deepEqual(await sweepLater(store), { ...NOTHING_DONE, suspicious: 101 })
    assert.deepEqual((await held(store)).files, names.sort())
  })

  it('takes up to a hundred objects, whatever share of all they are', async (t) => {
    const store = await openTestStore(t)
    await Promise.all(Array.from({ length: 100 }, () => leaveObject(store)))
    assert.deepEqual(await sweepLater(store), { ...NOTHING_DONE, trashed: 100 })
  })

  it('takes a tenth of many objects and not one more', async (t) => {
    for (const [untracked, report] of [
      [120, { ...NOTHING_DONE, trashed: 120 }],
      [121, { ...NOTHING_DONE, suspicious: 121 }],
    ] as const) {
      const store = await openTestStore(t)
      const tracked = 1200 - untracked
      await makeRows(store, tracked)
      await Promise.all(Array.from({ length: untracked }, () => leaveObject(store)))
      assert.deepEqual(await sweepLater(store), report)
    }
  })

  it('finishes deletions that a crash interrupted', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const going = await keep(store, keeper, pattern(100_000))
    const stays = await keep(store, keeper, pattern(100_000))
    await tamper(store.config, 'delete from saved_file where blob_id = ?', going.id)
    await tamper(store.config, `update blob set state = 'deleting' where id = ?`, going.id)
    assert.deepEqual(await sweepLater(store), { ...NOTHING_DONE, finished: 1 })
    assert.deepEqual(await held(store), {
      blobs: [`${stays.id} stored`],
      parts: [`${stays.id}.1`],
      small: [],
      files: [partName(stays.id, 1)],
    })
  })

  it('never touches what a row names, whatever else lies there', async (t) => {
    const count = fc.nat(12)
    await fc.assert(
      fc.asyncProperty(count, count, count, async (tracked, untracked, foreign) => {
        const store = await openTestStore(t)
        const names = await makeRows(store, tracked)
        for (let at = 0; at < untracked; at += 1) await leaveObject(store)
        for (let at = 0; at < foreign; at += 1) {
          await put(store, `blobs/zz/${at}-no-blob`)
        }
        const report = await sweepLater(store)
        assert.deepEqual(report, { ...NOTHING_DONE, trashed: untracked + foreign })
        assert.deepEqual(
          new Set(await filesBelow(join(store.config.data, 'blobs'))),
          new Set(names.map((name) => name.slice('blobs/'.length))),
        )
        await store.close()
      }),
      runs(5),
    )
  })
})

/** Sweeps as a server does that starts a while from now: everything that is there is older. */
function sweepLater({ core }: TestStore) {
  return core.sweep(Date.now() + 60_000)
}

/** An object whose transaction never came. */
async function leaveObject(store: TestStore): Promise<string> {
  const name = partName(randomUUID(), 1)
  await put(store, name)
  return name
}

async function put(store: TestStore, name: string): Promise<void> {
  const file = join(store.config.data, name)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, 'x')
}

/** Blobs with a row and an object each, without the work of storing them; answers the objects' names. */
async function makeRows(store: TestStore, count: number): Promise<string[]> {
  if (count === 0) return []
  const ids = Array.from({ length: count }, () => randomUUID())
  const values = (row: (id: string) => string) => ids.map(row).join()
  await tamper(
    store.config,
    `insert into blob (id, state, size, created_at)
      values ${values((id) => `('${id}', 'stored', 1, 0)`)};
    insert into blob_part (blob_id, number, plain_size, sealed_size, epoch, sealed, object)
      values ${values((id) => `('${id}', 1, 1, 1, 1, '', '${partName(id, 1)}')`)}`,
  )
  const names = ids.map((id) => partName(id, 1))
  await Promise.all(names.map((name) => put(store, name)))
  return names
}
