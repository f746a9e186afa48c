import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PinLockedError } from '../../src/core/account-files/pins.ts'
import { createOwner } from '../helpers/account.ts'
import { assertRefused } from '../helpers/refusals.ts'
import { openTestStore, rowsOf } from '../helpers/store.ts'

const PIN = '1a2s3d'
const HOUR = 3600 * 1000
const QUARTER = 15 * 60 * 1000

test('a right PIN gives a key for an hour, and only to its own account', async (t) => {
  const store = await openTestStore(t)
  const { pins } = store.core
  const ann = await createOwner(store, 'Ann', { pin: PIN })
  const ben = await createOwner(store, 'Ben', { pin: PIN })
  const { key, expiresAt } = await pins.unlock(ann.id, PIN, '192.0.2.1')
  assert.match(key, /^[0-9A-Za-z]{32}$/)
  assert.equal(expiresAt, store.clock.now + HOUR)
  assert.equal(await pins.isUnlocked(ann.id, key), true)
  assert.equal(await pins.isUnlocked(ben.id, key), false)
  assert.equal(await pins.isUnlocked(ann.id, `${key.slice(1)}x`), false)
  await assertRefused(pins.lock(ben.id, key), 'pin_key_unknown')
  store.clock.advance(HOUR - 1)
  assert.equal(await pins.isUnlocked(ann.id, key), true)
  store.clock.advance(1)
  assert.equal(await pins.isUnlocked(ann.id, key), false)
})

test('a key ends when it is given back, and all end with a new PIN', async (t) => {
  const store = await openTestStore(t)
  const { pins } = store.core
  const ann = await createOwner(store, 'Ann', { pin: PIN })
  const [one, two] = [
    await pins.unlock(ann.id, PIN, '192.0.2.1'),
    await pins.unlock(ann.id, PIN, '192.0.2.1'),
  ]
  await pins.lock(ann.id, one.key)
  await assertRefused(pins.lock(ann.id, one.key), 'pin_key_unknown')
  assert.equal(await pins.isUnlocked(ann.id, one.key), false)
  assert.equal(await pins.isUnlocked(ann.id, two.key), true)
  await pins.set(ann.id, 'another')
  assert.equal(await pins.isUnlocked(ann.id, two.key), false)
  await assertRefused(pins.unlock(ann.id, PIN, '192.0.2.1'), 'pin_wrong')
  await pins.unlock(ann.id, 'another', '192.0.2.1')
})

test('a PIN has 4 to 64 visible ASCII characters, and case counts', async (t) => {
  const store = await openTestStore(t)
  const { pins } = store.core
  const ann = await createOwner(store, 'Ann')
  assert.equal(await pins.isSet(ann.id), false)
  await assertRefused(pins.unlock(ann.id, PIN, '192.0.2.1'), 'pin_wrong')
  for (const pin of ['', '123', '12 34', 'pïn4', '1234\n', 'x'.repeat(65)]) {
    await assertRefused(pins.set(ann.id, pin), 'pin_malformed')
  }
  assert.equal(await pins.isSet(ann.id), false)
  for (const pin of ['0000', '~!"#', 'x'.repeat(64), 'aBcD']) {
    await pins.set(ann.id, pin)
    await pins.unlock(ann.id, pin, '192.0.2.1')
  }
  await assertRefused(pins.unlock(ann.id, 'abcd', '192.0.2.1'), 'pin_wrong')
})

test('after five wrong PINs an address waits, and the right one is not looked at', async (t) => {
  const store = await openTestStore(t)
  const { pins } = store.core
  const ann = await createOwner(store, 'Ann', { pin: PIN })
  const ben = await createOwner(store, 'Ben')
  async function fail(): Promise<void> {
    for (let count = 0; count < 5; count += 1) {
      await assertRefused(pins.unlock(ann.id, 'wrong', '192.0.2.1'), 'pin_wrong')
    }
  }
  await fail()
  store.clock.advance(1000)
  await assert.rejects(
    pins.unlock(ann.id, PIN, '192.0.2.1'),
    (error: unknown) => error instanceof PinLockedError && error.waitMs === QUARTER - 1000,
  )
  // Another account is not meant.
  await assertRefused(pins.unlock(ben.id, PIN, '192.0.2.1'), 'pin_wrong')
  store.clock.advance(QUARTER - 1000 - 1)
  await assertRefused(pins.unlock(ann.id, PIN, '192.0.2.1'), 'pin_locked')
  store.clock.advance(1)
  await pins.unlock(ann.id, PIN, '192.0.2.1')

  // Nor is another address, whose right PIN ends the wait of all.
  await fail()
  await assertRefused(pins.unlock(ann.id, PIN, '192.0.2.1'), 'pin_locked')
  await pins.unlock(ann.id, PIN, '192.0.2.2')
  await pins.unlock(ann.id, PIN, '192.0.2.1')
})

test('after twenty wrong PINs from anywhere everybody waits', async (t) => {
  const store = await openTestStore(t)
  const { pins } = store.core
  // Without a PIN every one is wrong, and counted all the same.
  const ann = await createOwner(store, 'Ann')
  for (let count = 0; count < 20; count += 1) {
    await assertRefused(pins.unlock(ann.id, PIN, `192.0.2.${count}`), 'pin_wrong')
  }
  await assertRefused(pins.unlock(ann.id, PIN, '198.51.100.1'), 'pin_locked')
  store.clock.advance(QUARTER)
  await assertRefused(pins.unlock(ann.id, PIN, '198.51.100.1'), 'pin_wrong')
})

test('wrong PINs that are tried at the same time are all counted', async (t) => {
  const store = await openTestStore(t)
  const { pins } = store.core
  const ann = await createOwner(store, 'Ann')
  const tried = await Promise.allSettled(
    Array.from({ length: 12 }, () => pins.unlock(ann.id, PIN, '192.0.2.1')),
  )
  const codes = tried.map((one) => (one.status === 'rejected' ? one.reason.code : 'unlocked'))
  assert.deepEqual(codes.toSorted(), [
    ...Array<string>(7).fill('pin_locked'),
    ...Array<string>(5).fill('pin_wrong'),
  ])
})

test('neither PIN, nor key, nor address stands in the database', async (t) => {
  const store = await openTestStore(t)
  const { pins } = store.core
  const ann = await createOwner(store, 'Ann', { pin: 'PINCANARY' })
  const { key } = await pins.unlock(ann.id, 'PINCANARY', '192.0.2.1')
  await assertRefused(pins.unlock(ann.id, 'WRONGCANARY', '203.0.113.77'), 'pin_wrong')
  const tables = ['pin', 'pin_key', 'pin_failure']
  const rows = (
    await Promise.all(tables.map((table) => rowsOf(store.config, `select * from ${table}`)))
  ).flat()
  assert.equal(rows.length, 4)
  const bytes = rows.flatMap((row) =>
    Object.values(row).map((value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value),
    ),
  )
  for (const secret of ['PINCANARY', 'WRONGCANARY', key, '203.0.113.77', '192.0.2.1']) {
    assert.ok(!bytes.some((text) => text.includes(secret)), secret)
  }
})
