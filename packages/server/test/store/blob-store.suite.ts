import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import fc from 'fast-check'
import { type BlobStore, type ObjectEntry, readObject } from '../../src/core/blobs/store.ts'
import { assertSameBytes, pattern } from '../helpers/bytes.ts'
import { assertRefused } from '../helpers/refusals.ts'

const runs = (count: number) => ({ numRuns: process.env.SLOW === '1' ? count * 20 : count })

/**
 * What every blob store does, whatever it keeps its objects in.
 *
 * @param makeStore an empty store that goes with the test
 */
export function blobStoreSuite(
  name: string,
  makeStore: (t: TestContext) => Promise<BlobStore>,
): void {
  describe(`a blob store on ${name}`, () => {
    describe('that keeps an object', () => {
      for (const size of [0, 1, 65_536, 1_048_575, 1_048_576, 3_500_001]) {
        it(`gives ${size} bytes back as they were written`, async (t) => {
          const store = await makeStore(t)
          await put(store, 'blobs/ab/one.1', pattern(size))
          assertSameBytes(await readObject(store, 'blobs/ab/one.1'), pattern(size))
        })
      }

      it('gives the same bytes back in whatever pieces they came', async (t) => {
        const store = await makeStore(t)
        const lengths = fc.array(fc.oneof(fc.nat(20), fc.nat(800_000)), { maxLength: 8 })
        let number = 0
        await fc.assert(
          fc.asyncProperty(fc.array(lengths, { maxLength: 4 }), async (calls) => {
            number += 1
            const pieces = calls.map((call, at) => call.map((size, to) => pattern(size, at + to)))
            const expected = Buffer.concat(pieces.flat())
            const writer = await store.create(`blobs/aa/${number}.1`)
            for (const call of pieces) await writer.write(call)
            await writer.commit()
            assertSameBytes(await readObject(store, `blobs/aa/${number}.1`), expected)
          }),
          runs(25),
        )
      })

      it('keeps objects apart that are written at the same time', async (t) => {
        const store = await makeStore(t)
        const numbers = Array.from({ length: 12 }, (_, index) => index)
        await Promise.all(
          numbers.map((n) => put(store, `blobs/a${n % 3}/${n}.1`, pattern(300_000 + n, n))),
        )
        for (const n of numbers) {
          assertSameBytes(
            await readObject(store, `blobs/a${n % 3}/${n}.1`),
            pattern(300_000 + n, n),
          )
        }
      })

      it('does not know a name before its object is committed', async (t) => {
        const store = await makeStore(t)
        const writer = await store.create('blobs/ab/one.1')
        await writer.write([pattern(2_500_000)])
        await assertRefused(store.open('blobs/ab/one.1'), 'file_not_found')
        assert.deepEqual(await names(store, 'blobs/'), [])
        await writer.commit()
        assert.deepEqual(await names(store, 'blobs/'), ['blobs/ab/one.1'])
      })
    })

    describe('that forgets an object before its commit', () => {
      for (const size of [0, 1000, 2_500_000]) {
        it(`has nothing after ${size} bytes`, async (t) => {
          const store = await makeStore(t)
          const writer = await store.create('blobs/ab/one.1')
          await writer.write([pattern(size)])
          await writer.abort()
          await assertRefused(store.open('blobs/ab/one.1'), 'file_not_found')
          assert.deepEqual(await names(store, 'blobs/'), [])
        })
      }

      it('takes another object of the same name afterwards', async (t) => {
        const store = await makeStore(t)
        const writer = await store.create('blobs/ab/one.1')
        await writer.write([pattern(10, 1)])
        await writer.abort()
        await put(store, 'blobs/ab/one.1', pattern(10, 2))
        assertSameBytes(await readObject(store, 'blobs/ab/one.1'), pattern(10, 2))
      })
    })

    describe('that is read', () => {
      it('answers exactly the bytes of any range', async (t) => {
        const store = await makeStore(t)
        const bytes = pattern(200_000)
        await put(store, 'blobs/ab/one.1', Buffer.from(bytes))
        const object = await store.open('blobs/ab/one.1')
        assert.equal(object.size, bytes.length)
        await fc.assert(
          fc.asyncProperty(fc.nat(bytes.length), fc.nat(bytes.length), async (one, other) => {
            const [start, end] = [Math.min(one, other), Math.max(one, other)]
            assertSameBytes(await object.read(start, end - start), bytes.subarray(start, end))
          }),
          runs(50),
        )
        await object.close()
      })

      it('refuses a range that is longer than the object, rather than to answer less', async (t) => {
        const store = await makeStore(t)
        await put(store, 'blobs/ab/one.1', pattern(1000))
        const object = await store.open('blobs/ab/one.1')
        await assertRefused(object.read(0, 1001), 'integrity')
        await assertRefused(object.read(999, 2), 'integrity')
        await assertRefused(object.read(2000, 1), 'integrity')
        await object.close()
      })

      it('says that an object is not there', async (t) => {
        const store = await makeStore(t)
        await put(store, 'blobs/ab/one.1', pattern(10))
        await assertRefused(store.open('blobs/ab/one.2'), 'file_not_found')
        await assertRefused(store.open('blobs/cd/one.1'), 'file_not_found')
      })
    })

    describe('that removes objects', () => {
      it('removes the ones that are named and no other', async (t) => {
        const store = await makeStore(t)
        for (const n of [1, 2, 3]) await put(store, `blobs/a${n}/x.${n}`, pattern(10, n))
        await store.remove(['blobs/a1/x.1', 'blobs/a3/x.3'])
        assert.deepEqual(await names(store, 'blobs/'), ['blobs/a2/x.2'])
        await assertRefused(store.open('blobs/a1/x.1'), 'file_not_found')
        assertSameBytes(await readObject(store, 'blobs/a2/x.2'), pattern(10, 2))
      })

      it('does not mind objects that are gone or never were', async (t) => {
        const store = await makeStore(t)
        await put(store, 'blobs/ab/one.1', pattern(10))
        await store.remove(['blobs/ab/one.1'])
        await store.remove(['blobs/ab/one.1', 'blobs/no/folder.1'])
        await store.remove([])
        assert.deepEqual(await names(store, 'blobs/'), [])
      })
    })

    describe('that lists', () => {
      it('names every object below a prefix once, with the time of its change', async (t) => {
        const store = await makeStore(t)
        const from = Date.now() - 1000
        const expected = ['blobs/ab/one.1', 'blobs/ab/two.1', 'blobs/cd/three.2']
        for (const name of expected) await put(store, name, pattern(10))
        await put(store, 'keyring/1.age', pattern(10))

        const entries: ObjectEntry[] = []
        for await (const entry of store.list('blobs/')) entries.push(entry)
        assert.deepEqual(new Set(entries.map((entry) => entry.name)), new Set(expected))
        assert.equal(entries.length, expected.length)
        for (const { changedAt } of entries) {
          assert.ok(changedAt >= from && changedAt <= Date.now() + 1000, `changed at ${changedAt}`)
        }
        assert.deepEqual(await names(store, 'keyring/'), ['keyring/1.age'])
      })

      it('has nothing to name below a prefix without objects', async (t) => {
        const store = await makeStore(t)
        assert.deepEqual(await names(store, 'blobs/'), [])
      })
    })

    describe('that has a quarantine', () => {
      it('takes an object away from its name and gives it back, but never in the place of another', async (t) => {
        const store = await makeStore(t)
        await put(store, 'blobs/ab/one.1', pattern(10))
        await store.quarantine('blobs/ab/one.1')
        await store.quarantine('blobs/ab/one.1')
        await assertRefused(store.open('blobs/ab/one.1'), 'file_not_found')
        assert.equal(await store.emptyTrash(Date.now() + 10_000), 0)
        const [aside = '', ...others] = await names(store, 'quarantine/')
        assert.match(aside, /^quarantine\/one\.1\.[^./]+$/)
        assert.deepEqual(others, [])

        await put(store, 'blobs/ab/one.1', pattern(10, 2))
        assert.equal(await store.restore(aside, 'blobs/ab/one.1'), false)
        assertSameBytes(await readObject(store, 'blobs/ab/one.1'), pattern(10, 2))
        await store.remove(['blobs/ab/one.1'])
        assert.equal(await store.restore(aside, 'blobs/ab/one.1'), true)
        assertSameBytes(await readObject(store, 'blobs/ab/one.1'), pattern(10))
        assert.deepEqual(await names(store, 'quarantine/'), [])
        assert.equal(await store.restore(aside, 'blobs/ab/two.1'), false)
      })
    })

    describe('that has a trash', () => {
      it('takes an object away from its name and keeps its bytes until their time', async (t) => {
        const store = await makeStore(t)
        await put(store, 'blobs/ab/one.1', pattern(10))
        await put(store, 'blobs/ab/two.1', pattern(10))
        await store.moveToTrash('blobs/ab/one.1')

        await assertRefused(store.open('blobs/ab/one.1'), 'file_not_found')
        assert.deepEqual(await names(store, 'blobs/'), ['blobs/ab/two.1'])
        assert.equal(await store.emptyTrash(Date.now() - 10_000), 0)
        assert.equal(await store.emptyTrash(Date.now() + 10_000), 1)
        assert.equal(await store.emptyTrash(Date.now() + 10_000), 0)
        assert.deepEqual(await names(store, 'blobs/'), ['blobs/ab/two.1'])
      })

      it('takes objects of one name one after the other', async (t) => {
        const store = await makeStore(t)
        for (const seed of [1, 2]) {
          await put(store, 'blobs/ab/one.1', pattern(10, seed))
          await store.moveToTrash('blobs/ab/one.1')
        }
        assert.equal(await store.emptyTrash(Date.now() + 10_000), 2)
      })

      it('does not mind an object that somebody removed meanwhile', async (t) => {
        const store = await makeStore(t)
        await store.moveToTrash('blobs/ab/one.1')
        assert.equal(await store.emptyTrash(Date.now() + 10_000), 0)
      })
    })

    it('clears what unfinished writers left and nothing else', async (t) => {
      const store = await makeStore(t)
      await put(store, 'blobs/ab/one.1', pattern(1000))
      const unfinished = await store.create('blobs/ab/two.1')
      await unfinished.write([pattern(2_500_000)])
      await store.clearUnfinished()
      assert.deepEqual(await names(store, 'blobs/'), ['blobs/ab/one.1'])
      assertSameBytes(await readObject(store, 'blobs/ab/one.1'), pattern(1000))
      await unfinished.abort()
      assert.deepEqual(await names(store, 'blobs/'), ['blobs/ab/one.1'])
    })
  })
}

async function put(store: BlobStore, name: string, bytes: Uint8Array): Promise<void> {
  const writer = await store.create(name)
  await writer.write([bytes])
  await writer.commit()
}

async function names(store: BlobStore, prefix: string): Promise<string[]> {
  const found: string[] = []
  for await (const { name } of store.list(prefix)) found.push(name)
  return found.sort((one, other) => (one < other ? -1 : 1))
}
