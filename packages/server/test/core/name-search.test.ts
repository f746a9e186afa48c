import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createOwner, indexAll, type Owner, stored } from '../helpers/account.ts'
import { openTestStore, type TestStore, tamper } from '../helpers/store.ts'

async function found(store: TestStore, who: Owner, keyword: string): Promise<string[]> {
  const query = { sort: [], keyword, trashed: 'with' as const }
  const names: string[] = []
  for await (const batch of store.core.accountList.all(who.id, query)) {
    names.push(...batch.map(({ fullName }) => fullName))
  }
  return names
}

test('names whose parts stand in another order are not found', async (t) => {
  const store = await openTestStore(t)
  const who = await createOwner(store)
  await stored(store, who, 'abcd bcde cdef')
  await stored(store, who, 'abcdef')
  await indexAll(store)
  assert.deepEqual(await found(store, who, 'abcdef'), ['abcdef'])
  assert.deepEqual(await found(store, who, 'bcde'), ['abcdef', 'abcd bcde cdef'])
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
      assert.ok((await found(store, who, keyword)).includes(name), keyword)
    }
  }
  assert.deepEqual(await found(store, who, `${name}!`), [])
})

test('the index tells nothing of names, and nothing across owners', async (t) => {
  const store = await openTestStore(t)
  const owners = [await createOwner(store, 'Ann'), await createOwner(store, 'Ben')]
  for (const who of owners) {
    await stored(store, who, 'CANARY')
    await stored(store, who, 'CANARY')
  }
  await indexAll(store)
  const terms = tamper(store.config, (database) => {
    database.exec(`create virtual table temp.terms using fts5vocab('main', 'name_search', 'row')`)
    return database.prepare('select term, doc from temp.terms').all()
  })
  // Four parts of three and three of four characters, of each owner, in both of her names.
  assert.equal(terms.length, 14)
  for (const { term, doc } of terms) {
    assert.match(String(term), /^t[0-9a-f]{10}$/)
    assert.equal(doc, 2)
  }
})

test('tidying joins the pieces of the index and changes no answer', async (t) => {
  const store = await openTestStore(t)
  const { accountFiles } = store.core
  const who = await createOwner(store)
  for (let count = 0; count < 40; count += 1) {
    await stored(store, who, `invoice ${count}`)
    await indexAll(store)
  }
  const pieces = () =>
    tamper(store.config, (database) =>
      Number(
        database.prepare('select count(distinct segid) as count from name_search_idx').get()?.count,
      ),
    )
  const before = await found(store, who, 'invoice')
  assert.equal(before.length, 40)
  assert.ok(pieces() > 1)
  await accountFiles.tidyIndex()
  assert.equal(pieces(), 1)
  assert.deepEqual(await found(store, who, 'invoice'), before)
  await accountFiles.tidyIndex()
  await stored(store, who, 'invoice 40')
  await indexAll(store)
  assert.deepEqual(await found(store, who, 'invoice'), ['invoice 40', ...before])
})
