import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createOwner, foundNames, indexAll, stored } from '../helpers/account.ts'
import { openTestStore } from '../helpers/store.ts'

test('names whose parts stand in another order are not found', async (t) => {
  const store = await openTestStore(t)
  const who = await createOwner(store)
  await stored(store, who, 'abcd bcde cdef')
  await stored(store, who, 'abcdef')
  await indexAll(store)
  assert.deepEqual(await foundNames(store, who, 'abcdef'), ['abcdef'])
  assert.deepEqual(await foundNames(store, who, 'bcde'), ['abcdef', 'abcd bcde cdef'])
})

test('keywords of every length find a long name', async (t) => {
  const store = await openTestStore(t)
  const who = await createOwner(store)
  const name = Array.from({ length: 60 }, (_, n) => `part${n}-ąč😀`).join(' ')
  await stored(store, who, name)
  for (let count = 0; count < 40; count += 1) await stored(store, who, `part${count}-ąč😀 other`)
  await indexAll(store)
  const points = [...name]
  for (let length = 1; length <= points.length; length += 7) {
    for (const from of [0, 3, points.length - length]) {
      const keyword = points.slice(from, from + length).join('')
      assert.ok((await foundNames(store, who, keyword)).includes(name), keyword)
    }
  }
  assert.deepEqual(await foundNames(store, who, `${name}!`), [])
})
