import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { folderPaths } from '../../../src/store/folder.ts'
import { createOwner, foundNames, indexAll, stored } from '../../helpers/account.ts'
import { openTestStore, rowsOf } from '../../helpers/store.ts'

test('the index tells nothing of names, and nothing across owners', async (t) => {
  const store = await openTestStore(t)
  const owners = [await createOwner(store, 'Ann'), await createOwner(store, 'Ben')]
  for (const who of owners) {
    await stored(store, who, 'CANARY')
    await stored(store, who, 'CANARY')
  }
  await indexAll(store)
  const database = new DatabaseSync(folderPaths(store.config.data).database)
  database.exec(`create virtual table temp.terms using fts5vocab('main', 'name_search', 'row')`)
  const terms = database.prepare('select term, doc from temp.terms').all()
  database.close()
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
  const pieces = async () => {
    const sql = 'select count(distinct segid) as count from name_search_idx'
    return Number((await rowsOf(store.config, sql))[0]?.count)
  }
  const found = () => foundNames(store, who, 'invoice')
  const before = await found()
  assert.equal(before.length, 40)
  assert.ok((await pieces()) > 1)
  await accountFiles.tidyIndex()
  assert.equal(await pieces(), 1)
  assert.deepEqual(await found(), before)
  await accountFiles.tidyIndex()
  await stored(store, who, 'invoice 40')
  await indexAll(store)
  assert.deepEqual(await found(), ['invoice 40', ...before])
})
