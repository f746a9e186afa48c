import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { generateIdentity } from '@holdfast/seal'
import { loadConfig } from '../../src/config.ts'
import { createReceivedBlobs, type ReceivedBlobs } from '../../src/core/blobs/received.ts'
import type { BlobStore } from '../../src/core/blobs/store.ts'
import { type Core, createCore } from '../../src/core/core.ts'
import { createKeyring, openKeyring } from '../../src/core/keys/keyring.ts'
import { migrate } from '../../src/store/database/migrate.ts'
import { openServerDatabase } from '../../src/store/database/sqlite.ts'
import { assertSameBytes, collect, inPieces, pattern } from '../helpers/bytes.ts'
import { atEnd, testFolder } from '../helpers/cleanup.ts'
import { assertRefused } from '../helpers/refusals.ts'

const CHUNK = 65_536
/** Two chunks of content and what is around them, but not three. */
const LARGEST_OBJECT = 200_000
const LARGEST_PART = 2 * CHUNK

/**
 * What becomes of content that is larger than an object of the store may be.
 *
 * @param makeStore an empty store that goes with the test
 */
export function splitBlobsSuite(
  name: string,
  makeStore: (t: TestContext) => Promise<BlobStore>,
): void {
  describe(`content that is larger than an object on ${name}`, () => {
    for (const [what, size, sizes] of [
      ['as large as one', LARGEST_PART, [LARGEST_PART]],
      ['one byte larger', LARGEST_PART + 1, [LARGEST_PART, 1]],
      ['three times as large', 3 * LARGEST_PART, [LARGEST_PART, LARGEST_PART, LARGEST_PART]],
    ] as const) {
      it(`goes on in the next one: ${what}`, async (t) => {
        const { core, store } = await openLimited(t, makeStore)
        const staged = await core.blobs.stage(inPieces(pattern(size), 150_001), size)
        assert.deepEqual(
          staged.parts.map((part) => part.plainSize),
          sizes,
        )
        for (const { object } of staged.parts) {
          const reader = await store.open(object)
          assert.ok(reader.size <= LARGEST_OBJECT, `${reader.size} bytes`)
          await reader.close()
        }
        await core.blobs.keep(staged, async () => undefined)
        assertSameBytes(await collect(core.blobs.read(staged, 0, size)), pattern(size))
        for (const start of [0, LARGEST_PART - 10, LARGEST_PART].filter((at) => at < size)) {
          const end = Math.min(start + LARGEST_PART + 5, size)
          assertSameBytes(
            await collect(core.blobs.read(staged, start, end)),
            pattern(size).subarray(start, end),
          )
        }
      })
    }

    it('leaves nothing when it does not all arrive', async (t) => {
      const { core, store } = await openLimited(t, makeStore)
      const source = async function* () {
        yield* inPieces(pattern(2 * LARGEST_PART + 1))
        throw new Error('the client is gone')
      }
      await assert.rejects(core.blobs.stage(source(), 10 * LARGEST_PART), /the client is gone/)
      assert.deepEqual(await objectsOf(store), [])
    })

    it('is refused as one chunk, which is one object', async (t) => {
      const { received, store } = await openLimited(t, makeStore)
      const bytes = pattern(LARGEST_PART + 1)
      const id = '3a1f3e0e-58b2-4f0e-9f0a-0d7c5f3f4c11'
      const whole = await received.stage(id, 1, inPieces(bytes.subarray(1)), bytes.length)
      assert.equal(whole.plainSize, LARGEST_PART)
      await assertRefused(received.stage(id, 2, inPieces(bytes), bytes.length), 'file_too_large')
      assert.deepEqual(await objectsOf(store), [whole.object])
    })
  })
}

async function objectsOf(store: BlobStore): Promise<string[]> {
  const names: string[] = []
  for await (const { name } of store.list('blobs/')) names.push(name)
  return names
}

interface Limited {
  readonly core: Core
  readonly received: ReceivedBlobs
  readonly store: BlobStore
}

async function openLimited(
  t: TestContext,
  makeStore: (t: TestContext) => Promise<BlobStore>,
): Promise<Limited> {
  const store: BlobStore = { ...(await makeStore(t)), largestObject: LARGEST_OBJECT }
  const root = generateIdentity('x25519')
  await createKeyring(store, root)
  const keyring = await openKeyring(store, root)
  const file = join(await testFolder(t), 'holdfast.db')
  const database = await openServerDatabase(file, migrate, assert.ifError)
  atEnd(t, () => database.close())
  const core = createCore({ ...loadConfig({}), database, store, keyring, clock: Date.now })
  await core.epochs.start()
  const received = createReceivedBlobs(database, store, keyring, Date.now)
  return { core, received, store }
}
