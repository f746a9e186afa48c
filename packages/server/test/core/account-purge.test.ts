import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createOwner, indexAll, type Owner, stored } from '../helpers/account.ts'
import { assertRefused } from '../helpers/refusals.ts'
import { openTestStore, rowsOf, type TestStore, tamper } from '../helpers/store.ts'

const at = (instant: string) => Date.parse(instant)

/** Puts a new file into the trash at one instant, and says whether a purge at another forgets it. */
async function isPurged(
  store: TestStore,
  who: Owner,
  trashed: string,
  purged: string,
): Promise<boolean> {
  store.clock.now = at(trashed)
  const { id } = await stored(store, who, 'a')
  await store.core.accountFiles.trash(who.id, id)
  store.clock.now = at(purged)
  await store.core.accountFiles.purge()
  return store.core.accountFiles.get(who.id, id).then(
    () => false,
    () => true,
  )
}

test('a record in the trash stays for one calendar month, to the millisecond', async (t) => {
  const store = await openTestStore(t)
  const who = await createOwner(store)
  const months: [string, string][] = [
    ['2026-01-15T12:00:00.000Z', '2026-02-15T12:00:00.000Z'],
    ['2026-02-15T12:00:00.000Z', '2026-03-15T12:00:00.000Z'],
    ['2025-12-31T23:59:59.999Z', '2026-01-31T23:59:59.999Z'],
    ['2026-04-30T00:00:00.000Z', '2026-05-30T00:00:00.000Z'],
    ['2028-02-29T06:00:00.000Z', '2028-03-29T06:00:00.000Z'],
  ]
  for (const [trashed, until] of months) {
    const before = new Date(at(until) - 1).toISOString()
    assert.equal(await isPurged(store, who, trashed, before), false, `${trashed} at ${before}`)
    assert.equal(await isPurged(store, who, trashed, until), true, `${trashed} at ${until}`)
  }
})

test('where the month before is too short, its last day counts', async (t) => {
  const store = await openTestStore(t)
  const who = await createOwner(store)
  // On 31 March, what went on 28 February (29 in a leap year) at that hour or before is a month old.
  const cases: [string, string, boolean][] = [
    ['2026-02-28T12:00:00.000Z', '2026-03-31T12:00:00.000Z', true],
    ['2026-02-28T12:00:00.001Z', '2026-03-31T12:00:00.000Z', false],
    ['2028-02-29T12:00:00.000Z', '2028-03-31T12:00:00.000Z', true],
    ['2028-02-29T12:00:00.001Z', '2028-03-31T12:00:00.000Z', false],
    // There is no 31 February: the record goes when March begins.
    ['2026-01-31T00:00:00.000Z', '2026-02-28T23:59:59.999Z', false],
    ['2026-01-31T00:00:00.000Z', '2026-03-01T00:00:00.000Z', true],
    ['2028-01-30T00:00:00.000Z', '2028-02-29T23:59:59.999Z', false],
    ['2028-01-30T00:00:00.000Z', '2028-03-01T00:00:00.000Z', true],
  ]
  for (const [trashed, purged, expected] of cases) {
    assert.equal(await isPurged(store, who, trashed, purged), expected, `${trashed} at ${purged}`)
  }
})

test('the totals are right after every step, and the index forgets what is purged', async (t) => {
  const store = await openTestStore(t)
  const { accountFiles } = store.core
  const who = await createOwner(store)
  const usage = async () => ({ ...(await accountFiles.usage(who.id)) })
  assert.deepEqual(await usage(), { files: 0, trashed: 0, bytes: 0 })
  const ids: string[] = []
  for (const size of [10, 70_000, 5]) {
    ids.push((await stored(store, who, `invoice ${size}`, Buffer.alloc(size))).id)
  }
  const [first = '', second = '', third = ''] = ids
  assert.deepEqual(await usage(), { files: 3, trashed: 0, bytes: 70_015 })
  await indexAll(store)
  await accountFiles.trash(who.id, first)
  await accountFiles.trash(who.id, second)
  assert.deepEqual(await usage(), { files: 3, trashed: 2, bytes: 5 })
  await assertRefused(accountFiles.trash(who.id, first), 'file_not_found')
  assert.deepEqual(await usage(), { files: 3, trashed: 2, bytes: 5 })
  const indexed = async () =>
    (
      await rowsOf(
        store.config,
        `select (select count(*) from name_search) as names,
          (select count(*) from account_file) as files`,
      )
    )[0]
  assert.deepEqual({ ...(await indexed()) }, { names: 3, files: 3 })

  store.clock.advance(40 * 24 * 3600 * 1000)
  assert.equal(await accountFiles.purge(), 2)
  assert.equal(await accountFiles.purge(), 0)
  assert.deepEqual(await usage(), { files: 1, trashed: 0, bytes: 5 })
  assert.deepEqual({ ...(await indexed()) }, { names: 1, files: 1 })
  await assertRefused(accountFiles.get(who.id, first), 'file_not_found')
  assert.equal((await accountFiles.get(who.id, third)).fullName, 'invoice 5')
})

test('the database goes on after names were taken out of the index', async (t) => {
  const store = await openTestStore(t)
  const { accountFiles } = store.core
  const who = await createOwner(store)
  for (let count = 0; count < 5; count += 1) {
    const { id } = await stored(store, who, `invoice ${count}`)
    await indexAll(store)
    await accountFiles.trash(who.id, id)
  }
  store.clock.advance(40 * 24 * 3600 * 1000)
  assert.equal(await accountFiles.purge(), 5)
  await assertRefused(accountFiles.trash(who.id, 'nothing'), 'file_not_found')
  assert.equal(await store.core.downloads.forgetExpired(), 0)
  await store.core.pins.set(who.id, '1a2s3d')
  const { id } = await stored(store, who, 'next')
  assert.equal((await accountFiles.get(who.id, id)).fullName, 'next')
})

test('a record that was never indexed can be purged, and the index goes on', async (t) => {
  const store = await openTestStore(t)
  const { accountFiles } = store.core
  const who = await createOwner(store)
  const { id } = await stored(store, who, 'gone soon')
  await accountFiles.trash(who.id, id)
  store.clock.advance(40 * 24 * 3600 * 1000)
  assert.equal(await accountFiles.purge(), 1)
  await stored(store, who, 'stays')
  await indexAll(store)
  const waiting = (await rowsOf(store.config, 'select count(*) as count from search_todo'))[0]
  assert.equal(waiting?.count, 0)
})

test('more than one transaction can hold is purged all the same', async (t) => {
  const store = await openTestStore(t)
  const who = await createOwner(store)
  await stored(store, who, 'seed')
  await tamper(
    store.config,
    `insert into account_file (id, owner_id, category_id, blob_id, disk, size,
        encrypted_size, sealed, created_at, trashed_at)
      with recursive count(i) as (select 1 union all select i + 1 from count where i < 1203)
      select 'gone-' || i, owner_id, category_id, null, disk, 1, 1, sealed, 0, 0
      from account_file, count;
    update account_usage set files = files + 1203, trashed = 1203`,
  )
  assert.equal(await store.core.accountFiles.purge(), 1203)
  const usage = { ...(await store.core.accountFiles.usage(who.id)) }
  assert.deepEqual(usage, { files: 1, trashed: 0, bytes: 7 })
})
