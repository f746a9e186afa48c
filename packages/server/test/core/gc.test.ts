import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import type { GcReport } from '../../src/core/checks/gc.ts'
import { breakRows, DAY_MS, gcOf, LARGE, setAside, storeFiles } from '../helpers/checks.ts'
import { openTestStore, type TestStore } from '../helpers/store.ts'

const NOTHING: GcReport = {
  dryRun: false,
  untracked: 0,
  untrackedBytes: 0,
  recent: 0,
  objects: 0,
  trashed: 0,
  trashedBytes: 0,
  removed: 0,
  removedBytes: 0,
  finished: 0,
  stopped: false,
  clean: true,
}

describe('gc', { concurrency: 4 }, () => {
  it('of a store in which everything is of use does nothing', async (t) => {
    const store = await openTestStore(t)
    await storeFiles(store, LARGE, 10)
    assert.deepEqual(await gcOf(store), { ...NOTHING, objects: 1 })
  })

  it('moves what no row names to the trash, and removes it a day later', async (t) => {
    const store = await openTestStore(t)
    await storeFiles(store, LARGE)
    const names = await leaveObjects(store, 2)
    const found = { ...NOTHING, objects: 3, untracked: 2, untrackedBytes: 6 }
    assert.deepEqual(await gcOf(store), { ...found, trashed: 2, trashedBytes: 6 })
    assert.deepEqual(await setAside(store, 'trash'), names)

    store.clock.now = Date.now() + DAY_MS + 60_000
    const options = { served: false, grace: DAY_MS, limit: 1, force: false }
    const old = { ...NOTHING, objects: 1, removed: 2, removedBytes: 6 }
    const { checks } = store.core
    assert.deepEqual(await checks.gc({ ...options, dryRun: true }), {
      ...old,
      dryRun: true,
      clean: false,
    })
    assert.equal((await setAside(store, 'trash')).length, 2)
    assert.deepEqual(await checks.gc({ ...options, dryRun: false }), old)
    assert.deepEqual(await setAside(store, 'trash'), [])
  })

  it('only says what it would do when it is asked to', async (t) => {
    const store = await openTestStore(t)
    await leaveObjects(store, 2)
    assert.deepEqual(await gcOf(store, { dryRun: true }), {
      ...NOTHING,
      dryRun: true,
      objects: 2,
      untracked: 2,
      untrackedBytes: 6,
      trashed: 2,
      trashedBytes: 6,
      clean: false,
    })
    assert.deepEqual(await setAside(store, 'trash'), [])
  })

  it('moves no more than its limit, and says that some are left', async (t) => {
    const store = await openTestStore(t)
    await leaveObjects(store, 3)
    const { trashed, clean } = await gcOf(store, { limit: 2 })
    assert.deepEqual({ trashed, clean }, { trashed: 2, clean: false })
    assert.equal((await setAside(store, 'trash')).length, 2)
  })

  it('stops when it would take suspiciously much, unless it is forced to', async (t) => {
    const store = await openTestStore(t)
    await leaveObjects(store, 101)
    const found = { ...NOTHING, objects: 101, untracked: 101, untrackedBytes: 303 }
    assert.deepEqual(await gcOf(store), { ...found, stopped: true, clean: false })
    assert.deepEqual(await setAside(store, 'trash'), [])
    assert.deepEqual(await gcOf(store, { force: true }), {
      ...found,
      trashed: 101,
      trashedBytes: 303,
    })
  })

  it('beside a server leaves alone what may be an upload in flight', async (t) => {
    const store = await openTestStore(t)
    await leaveObjects(store, 1)
    assert.deepEqual(await gcOf(store, { served: true }), { ...NOTHING, objects: 1, recent: 1 })
    const { trashed } = await gcOf(store, { served: true, grace: 1 })
    assert.equal(trashed, 1)
  })

  it('finishes removals that a crash interrupted, but never those of a running server', async (t) => {
    const store = await openTestStore(t)
    await storeFiles(store, LARGE)
    await breakRows(store, 'delete from account_file', `update blob set state = 'deleting'`)
    assert.deepEqual(await gcOf(store, { served: true }), { ...NOTHING, objects: 1 })
    assert.deepEqual(await gcOf(store), { ...NOTHING, finished: 1 })
  })
})

/** Objects of three bytes whose transaction never came; answers what their names end with, sorted. */
async function leaveObjects({ config }: TestStore, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, () => `${randomUUID()}.1`)
  for (const name of names) {
    const path = join(config.data, 'blobs', name.slice(0, 2), name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, 'abc')
  }
  return names.sort((one, other) => (one < other ? -1 : 1))
}
