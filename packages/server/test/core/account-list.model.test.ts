import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { AccountFile } from '../../src/core/account-files/files.ts'
import type { AccountQuery, SortColumn, SortTerm } from '../../src/core/account-files/list.ts'
import { searchForm } from '../../src/core/file-names.ts'
import { createOwner, indexAll, stored } from '../helpers/account.ts'
import { openTestStore } from '../helpers/store.ts'

/** Names as people and attackers give them; short alphabets, so that keywords meet. */
const name = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: fc.constantFrom(...'abAB1 .%_é'), maxLength: 12 }) },
  { weight: 2, arbitrary: fc.string({ unit: 'grapheme', maxLength: 20 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('e\u0301toile.txt', 'étoile.TXT', 'ﬁnal.doc', 'FINAL.DOC'),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('😀 party 👩‍👧‍👦.png', '\u202efdp.exe', 'حساب ١٢٣.pdf', 'שלום.txt'),
  },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 400 }).map((n) => 'long-'.repeat(n)) },
)
const sortTerm: fc.Arbitrary<SortTerm> = fc.record({
  column: fc.constantFrom<SortColumn>('name', 'size', 'encrypted_size', 'created_at'),
  descending: fc.boolean(),
})

const NAMES = 120

/** The same question, asked of plain objects. */
function model(files: readonly AccountFile[], { sort, keyword, trashed }: AccountQuery) {
  const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' })
  const compareBy = (column: SortColumn, a: AccountFile, b: AccountFile): number => {
    if (column === 'name') return collator.compare(a.fullName, b.fullName)
    if (column === 'created_at') return a.createdAt - b.createdAt
    return column === 'size' ? a.size - b.size : a.encryptedSize - b.encryptedSize
  }
  return files
    .filter((file) => trashed === 'with' || file.trashed === (trashed === 'only'))
    .filter(({ fullName }) => searchForm(fullName).includes(searchForm(keyword)))
    .sort((a, b) => {
      for (const { column, descending } of sort) {
        const difference = compareBy(column, a, b)
        if (difference !== 0) return descending ? -difference : difference
      }
      return (sort[0]?.descending ?? true) ? b.createdAt - a.createdAt : a.createdAt - b.createdAt
    })
}

test('every list, sorted, searched and paged, is what plain objects answer', async (t) => {
  const store = await openTestStore(t)
  const { accountFiles, accountList } = store.core
  const ann = await createOwner(store, 'Ann')
  const ben = await createOwner(store, 'Ben')
  const files: AccountFile[] = []
  const given = fc.sample(name, { numRuns: NAMES, seed: 20_260_115 })
  for (const [index, each] of given.entries()) {
    store.clock.advance(1000)
    // Few sizes, so that many are equal.
    files.push(await stored(store, ann, each, Buffer.alloc((index * 7) % 5)))
    if (index % 10 === 0) await stored(store, ben, each)
    // Some names are searched by index, the last ones without.
    if (index === Math.floor(NAMES * 0.8)) await indexAll(store)
  }
  for (const [index, file] of files.entries()) {
    if (index % 7 !== 0) continue
    await accountFiles.trash(ann.id, file.id)
    files[index] = await accountFiles.get(ann.id, file.id)
  }

  const keyword = fc.oneof(
    fc.constant(''),
    fc.constantFrom(
      '%',
      '_',
      'a',
      'AB',
      '1',
      '. ',
      'é',
      'e',
      'LONG-',
      'final',
      'ﬁ',
      '😀',
      'ص',
      'zzz',
    ),
    fc
      .tuple(fc.nat(NAMES - 1), fc.nat(8), fc.integer({ min: 1, max: 40 }))
      .map(([at, from, length]) =>
        [...(files[at]?.fullName ?? '')]
          .slice(from, from + length)
          .join('')
          .trim(),
      ),
    fc
      .string({ unit: fc.constantFrom(...'abAB1 .%_é'), minLength: 3, maxLength: 5 })
      .map((text) => text.trim()),
  )
  const query: fc.Arbitrary<AccountQuery> = fc.record({
    sort: fc.array(sortTerm, { maxLength: 3 }),
    keyword,
    trashed: fc.constantFrom('with', 'without', 'only'),
  })
  const slice = fc.record({ page: fc.nat(6), limit: fc.constantFrom(1, 3, 15, 100) })

  await fc.assert(
    fc.asyncProperty(query, slice, async (wanted, { page, limit }) => {
      const expected = model(files, wanted).map(({ id }) => id)
      const all: string[] = []
      for await (const batch of accountList.all(ann.id, wanted))
        all.push(...batch.map(({ id }) => id))
      assert.deepEqual(all, expected)

      const offset = page * limit
      const found = await accountList.page(ann.id, wanted, offset, limit)
      assert.deepEqual(
        found.files.map(({ id }) => id),
        expected.slice(offset, offset + limit),
      )
      assert.equal(found.more, expected.length > offset + limit)
      if (found.total !== undefined) assert.equal(found.total, expected.length)
      else assert.ok(found.more, 'only what goes on is not counted')
    }),
    { numRuns: 250 },
  )
})
