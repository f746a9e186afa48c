import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import fs, { rm } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { partName } from '../../src/core/blobs/names.ts'
import { CoreError } from '../../src/core/errors.ts'
import { createKeeper, fileOf, held, keep, LIMIT, link, NOTHING, unlink } from '../helpers/blobs.ts'
import { stub, systemError } from '../helpers/builtins.ts'
import { assertSameBytes, collect, inPieces, pattern } from '../helpers/bytes.ts'
import { assertRefused } from '../helpers/refusals.ts'
import { openStoreOf, openTestStore, tamper } from '../helpers/store.ts'

const runs = (count: number) => ({ numRuns: process.env.SLOW === '1' ? count * 20 : count })
const SMALL = 65_536
const MIB = 1024 * 1024

describe('content', { concurrency: 4 }, () => {
  it('comes back as it was sent, whatever its size', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const sizes = [0, 1, SMALL - 1, SMALL, SMALL + 1, 2 * SMALL, 2 * SMALL + 1, MIB, 3 * MIB + 1]
    for (const size of sizes) {
      const blob = await keep(store, keeper, pattern(size, size))
      assert.equal(blob.size, size)
      assertSameBytes(await collect(store.core.blobs.read(blob, 0, size)), pattern(size, size))
    }
  })

  it('of up to the small limit is in the database alone, and of one byte more on the disk alone', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const small = await keep(store, keeper, pattern(SMALL))
    const large = await keep(store, keeper, pattern(SMALL + 1))
    assert.deepEqual(await held(store), {
      blobs: [`${small.id} stored`, `${large.id} stored`].sort(),
      parts: [`${large.id}.1`],
      small: [small.id],
      files: [partName(large.id, 1)],
    })
  })

  it('is all on the disk when the small limit is 0, but for empty content', async (t) => {
    const store = await openTestStore(t, { HOLDFAST_SMALL_MAX_KB: '0' })
    const keeper = await createKeeper(store)
    const empty = await keep(store, keeper, pattern(0))
    const one = await keep(store, keeper, pattern(1))
    assert.deepEqual((await held(store)).files, [partName(one.id, 1)])
    for (const blob of [empty, one]) {
      assertSameBytes(await collect(store.core.blobs.read(blob, 0, blob.size)), pattern(blob.size))
    }
  })

  it('comes back in whatever pieces it was sent', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.nat(10), fc.nat(90_000)), { maxLength: 6 }),
        async (sizes) => {
          const pieces = sizes.map((size, index) => pattern(size, index))
          async function* source() {
            for (const piece of pieces) yield Buffer.from(piece)
          }
          const staged = await store.core.blobs.stage(source(), LIMIT)
          await store.core.blobs.keep(staged, (writer) => link(writer, keeper, staged.id))
          const read = await collect(store.core.blobs.read(staged, 0, staged.size))
          assertSameBytes(read, Buffer.concat(pieces))
        },
      ),
      runs(15),
    )
  })

  for (const size of [SMALL, 900_001]) {
    it(`of ${size} bytes can be read from anywhere to anywhere`, async (t) => {
      const store = await openTestStore(t)
      const bytes = pattern(size)
      const blob = await keep(store, await createKeeper(store), Buffer.from(bytes))
      const border = fc
        .tuple(fc.nat(14), fc.integer({ min: -2, max: 2 }))
        .map(([chunks, more]) => Math.min(size, Math.max(0, chunks * 65_536 + more)))
      const place = fc.oneof(fc.nat(size), border)
      await fc.assert(
        fc.asyncProperty(place, place, async (one, other) => {
          const [start, end] = [Math.min(one, other), Math.max(one, other)]
          const read = await collect(store.core.blobs.read(blob, start, end))
          assertSameBytes(read, bytes.subarray(start, end))
        }),
        runs(60),
      )
    })
  }

  it('is sealed anew each time: equal content has nothing in common on the disk', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const bytes = pattern(100_000)
    const one = await keep(store, keeper, bytes)
    const other = await keep(store, keeper, bytes)
    const [a, b] = [
      await fs.readFile(fileOf(store, one.id)),
      await fs.readFile(fileOf(store, other.id)),
    ]
    assert.equal(a.length, b.length)
    assert.notDeepEqual(a.subarray(22, 64), b.subarray(22, 64), 'the ephemeral key')
    assert.notDeepEqual(a.subarray(168, 232), b.subarray(168, 232), 'the first bytes')
    assert.ok(!a.includes(bytes.subarray(0, 16)))
  })
})

describe('a limit', { concurrency: 4 }, () => {
  for (const limit of [10, SMALL, SMALL + 1, 300_000]) {
    it(`of ${limit} bytes takes ${limit} and refuses one more without leaving anything`, async (t) => {
      const store = await openTestStore(t)
      const { blobs } = store.core
      const staged = await blobs.stage(inPieces(pattern(limit), 70_000), limit)
      assert.equal(staged.size, limit)
      await blobs.discard(staged)
      await assertRefused(
        blobs.stage(inPieces(pattern(limit + 1), 70_000), limit),
        'file_too_large',
      )
      assert.deepEqual(await held(store), NOTHING)
    })
  }

  it('stops the source as soon as it is passed', async (t) => {
    const { core } = await openTestStore(t)
    let given = 0
    let ended = false
    async function* endless() {
      try {
        for (;;) {
          given += 100_000
          yield pattern(100_000)
        }
      } finally {
        ended = true
      }
    }
    await assertRefused(core.blobs.stage(endless(), 250_000), 'file_too_large')
    assert.deepEqual([given, ended], [300_000, true])
  })
})

describe('bytes that do not all arrive', () => {
  for (const size of [0, 1000, SMALL + 1, 2_500_000]) {
    it(`leave nothing when their source fails after ${size}`, async (t) => {
      const store = await openTestStore(t)
      const reason = new Error('the connection broke')
      async function* broken() {
        yield* inPieces(pattern(size))
        throw reason
      }
      await assert.rejects(store.core.blobs.stage(broken(), LIMIT), reason)
      assert.deepEqual(await held(store), NOTHING)
    })
  }

  it('leave nothing when the disk is full', async (t) => {
    const store = await openTestStore(t)
    const handle = await fs.open('/dev/null')
    await handle.close()
    stub(t, Object.getPrototypeOf(handle) as fs.FileHandle, 'writev', () => async () => {
      throw systemError('ENOSPC')
    })
    await assertRefused(store.core.blobs.stage(inPieces(pattern(3 * MIB)), LIMIT), 'storage_full')
    assert.deepEqual(await held(store), NOTHING)
  })
})

describe('bytes that are staged', { concurrency: 4 }, () => {
  it('have no row, and go when they are discarded', async (t) => {
    const store = await openTestStore(t)
    const large = await store.core.blobs.stage(inPieces(pattern(100_000)), LIMIT)
    const small = await store.core.blobs.stage(inPieces(pattern(100)), LIMIT)
    assert.deepEqual(await held(store), { ...NOTHING, files: [partName(large.id, 1)] })
    await store.core.blobs.discard(large)
    await store.core.blobs.discard(small)
    assert.deepEqual(await held(store), NOTHING)
  })

  for (const size of [100, 100_000]) {
    it(`go when their link is refused (${size} bytes)`, async (t) => {
      const store = await openTestStore(t)
      const staged = await store.core.blobs.stage(inPieces(pattern(size)), LIMIT)
      const refusal = new CoreError('not_member', 'no')
      await assert.rejects(
        store.core.blobs.keep(staged, async () => {
          throw refusal
        }),
        refusal,
      )
      assert.deepEqual(await held(store), NOTHING)
      await assertRefused(
        collect(store.core.blobs.read(staged, 0, size)),
        'integrity',
        'file_not_found',
      )
    })
  }

  it('stay when it is not known whether their link is on the disk', async (t) => {
    const store = await openTestStore(t)
    const staged = await store.core.blobs.stage(inPieces(pattern(100_000)), LIMIT)
    await assertRefused(
      store.core.blobs.keep(staged, async () => {
        throw new CoreError('storage_unavailable', 'the sync failed')
      }),
      'storage_unavailable',
    )
    assert.deepEqual((await held(store)).files, [partName(staged.id, 1)])
  })

  it('answer what their link answers', async (t) => {
    const store = await openTestStore(t)
    const staged = await store.core.blobs.stage(inPieces(pattern(100)), LIMIT)
    assert.equal(await store.core.blobs.keep(staged, async () => 'linked'), 'linked')
  })
})

describe('the last link of a blob', { concurrency: 4 }, () => {
  for (const size of [0, 100, 100_000]) {
    it(`takes its ${size} bytes along at once`, async (t) => {
      const store = await openTestStore(t)
      const blob = await keep(store, await createKeeper(store), pattern(size))
      await unlink(store.core.blobs, blob.id)
      assert.deepEqual(await held(store), NOTHING)
      await assertRefused(
        collect(store.core.blobs.read(blob, 0, size)),
        'integrity',
        'file_not_found',
      )
    })
  }

  it('is the last one: as long as another is there nothing goes', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const other = await store.core.identities.createPerson({ email: 'o@example.com', name: 'O' })
    const blob = await keep(store, keeper, pattern(100_000))
    const { blobs } = store.core
    await blobs.unlinking((writer) => link(writer, other.id, blob.id))
    await blobs.unlinking(async (writer, release) => {
      await writer.deleteFrom('saved_file').where('identity_id', '=', other.id).execute()
      await release(blob.id)
    })
    assertSameBytes(await collect(blobs.read(blob, 0, 100_000)), pattern(100_000))
    await unlink(blobs, blob.id)
    assert.deepEqual(await held(store), NOTHING)
  })

  it('takes nothing along when its transaction fails', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const kept = [
      await keep(store, keeper, pattern(100)),
      await keep(store, keeper, pattern(100_000)),
    ]
    const before = await held(store)
    const reason = new Error('no')
    await assert.rejects(
      store.core.blobs.unlinking(async (writer, release) => {
        await writer.deleteFrom('saved_file').execute()
        for (const { id } of kept) await release(id)
        throw reason
      }),
      reason,
    )
    assert.deepEqual(await held(store), before)
    for (const blob of kept) {
      assertSameBytes(await collect(store.core.blobs.read(blob, 0, blob.size)), pattern(blob.size))
    }
  })

  it('may be that of many blobs at once', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    for (const size of [10, 70_000, 20, 80_000, 30]) await keep(store, keeper, pattern(size))
    const stays = await keep(store, keeper, pattern(90_000))
    const ids = (await held(store)).blobs.map((line) => line.split(' ')[0] as string)
    await store.core.blobs.unlinking(async (writer, release) => {
      await writer.deleteFrom('saved_file').where('blob_id', '!=', stays.id).execute()
      for (const id of ids) await release(id)
    })
    assert.deepEqual(await held(store), {
      blobs: [`${stays.id} stored`],
      parts: [`${stays.id}.1`],
      small: [],
      files: [partName(stays.id, 1)],
    })
  })
})

describe('a blob that is being deleted', () => {
  it('cannot be linked again', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const { blobs } = store.core
    for (const size of [100, 100_000]) {
      const blob = await keep(store, keeper, pattern(size))
      const locked = await blobs.unlinking((writer) => blobs.lock(writer, blob.id))
      assert.deepEqual({ ...locked }, blob)
      await blobs.unlinking(async (writer, release) => {
        await writer.deleteFrom('saved_file').where('blob_id', '=', blob.id).execute()
        await release(blob.id)
        await assertRefused(blobs.lock(writer, blob.id), 'file_not_found')
      })
      await assertRefused(
        blobs.unlinking((writer) => blobs.lock(writer, blob.id)),
        'file_not_found',
      )
    }
  })

  it('is gone for good once a crash in between has been cleaned up', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const { blobs } = store.core
    const [one, two, three] = [
      await keep(store, keeper, pattern(100_000)),
      await keep(store, keeper, pattern(100_000)),
      await keep(store, keeper, pattern(100_000)),
    ]
    for (const { id } of [one, two]) {
      await tamper(store.config, 'delete from saved_file where blob_id = ?', id)
      await tamper(store.config, `update blob set state = 'deleting' where id = ?`, id)
    }
    await rm(fileOf(store, two.id))
    await assertRefused(
      blobs.unlinking((writer) => blobs.lock(writer, one.id)),
      'file_not_found',
    )
    await store.close()

    const again = await openStoreOf(t, store.config)
    assert.equal(await again.core.blobs.finishDeleting(), 2)
    assert.deepEqual(await held(again), {
      blobs: [`${three.id} stored`],
      parts: [`${three.id}.1`],
      small: [],
      files: [partName(three.id, 1)],
    })
    assert.equal(await again.core.blobs.finishDeleting(), 0)
  })

  it('keeps its rows when its bytes cannot be removed, so that the removal is tried again', async (t) => {
    const store = await openTestStore(t)
    const blob = await keep(store, await createKeeper(store), pattern(100_000))
    const broken = stub(t, fs, 'unlink', () => async () => {
      throw systemError('EIO')
    })
    await assertRefused(unlink(store.core.blobs, blob.id), 'storage_unavailable')
    assert.deepEqual((await held(store)).blobs, [`${blob.id} deleting`])
    broken.restore()
    assert.equal(await store.core.blobs.finishDeleting(), 1)
    assert.deepEqual(await held(store), NOTHING)
  })
})

describe('memory', () => {
  it('does not grow with the size of what is stored and read', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const size = (process.env.SLOW === '1' ? 1024 : 96) * MIB
    const piece = randomBytes(MIB)
    const before = usedMemory()
    let most = 0
    let passed = 0
    function watch(bytes: number): void {
      passed += bytes
      if (passed % (16 * MIB) === 0) most = Math.max(most, usedMemory() - before)
    }
    async function* source() {
      for (let at = 0; at < size; at += MIB) {
        watch(MIB)
        yield piece
      }
    }
    const staged = await store.core.blobs.stage(source(), size)
    await store.core.blobs.keep(staged, (writer) => link(writer, keeper, staged.id))
    for await (const bytes of store.core.blobs.read(staged, 0, size)) watch(bytes.byteLength)
    assert.equal(passed, 2 * size)
    assert.ok(most < 32 * MIB, `${Math.round(most / MIB)} MiB`)
  })
})

/** Bytes of what is still in use, after garbage has been collected. */
function usedMemory(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return arrayBuffers + heapUsed
}
