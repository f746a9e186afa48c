import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { BlobStore } from '../../src/core/blobs/store.ts'
import { openDiskStore } from '../../src/store/blobs/disk.ts'
import { stub, systemError } from '../helpers/builtins.ts'
import { assertSameBytes, pattern } from '../helpers/bytes.ts'
import { atEnd, testFolder } from '../helpers/cleanup.ts'
import { assertRefused } from '../helpers/refusals.ts'
import { mountSmallDisk } from '../helpers/small-disk.ts'
import { filesBelow } from '../helpers/store.ts'
import { blobStoreSuite } from './blob-store.suite.ts'

blobStoreSuite('a disk', async (t) => (await temporaryStore(t)).store)

describe('a blob store on a disk', () => {
  it('makes files and folders that only their owner can read, whatever the umask', async (t) => {
    const earlier = process.umask(0)
    atEnd(t, () => process.umask(earlier))
    const { root, store } = await temporaryStore(t)
    await put(store, 'blobs/ab/one.1', pattern(10))
    await put(store, 'blobs/ab/two.1', pattern(10))
    await store.moveToTrash('blobs/ab/two.1')
    const unfinished = await store.create('blobs/ab/three.1')
    await unfinished.write([pattern(2_000_000)])

    const entries = await fs.readdir(root, { recursive: true, withFileTypes: true })
    const files = entries.filter((entry) => entry.isFile())
    assert.equal(files.length, 3)
    for (const entry of entries) {
      const { mode } = await fs.stat(join(entry.parentPath, entry.name))
      assert.equal(mode & 0o777, entry.isDirectory() ? 0o700 : 0o600, entry.name)
    }
    await unfinished.abort()
  })

  it('keeps every file below its root', async (t) => {
    const outside = await testFolder(t)
    const root = join(outside, 'root')
    const store = await openDiskStore(root)
    await put(store, 'blobs/ab/one.1', pattern(10))
    await put(store, 'blobs/cd/two.1', pattern(10))
    await store.moveToTrash('blobs/cd/two.1')
    assert.deepEqual(await fs.readdir(outside), ['root'])
    assert.deepEqual((await fs.readdir(root)).sort(), ['blobs', 'tmp', 'trash'])
  })

  it('writes into tmp, which is empty once an object is committed or forgotten', async (t) => {
    const { root, store } = await temporaryStore(t)
    const kept = await store.create('blobs/ab/one.1')
    const forgotten = await store.create('blobs/ab/two.1')
    assert.equal((await filesBelow(join(root, 'tmp'))).length, 2)
    await kept.commit()
    await forgotten.abort()
    assert.deepEqual(await filesBelow(root), ['blobs/ab/one.1'])
  })

  it('clears tmp of what another process left', async (t) => {
    const { root, store } = await temporaryStore(t)
    const unfinished = await store.create('blobs/ab/one.1')
    await unfinished.write([pattern(2_000_000)])
    const next = await openDiskStore(root)
    await next.clearUnfinished()
    assert.deepEqual(await filesBelow(root), [])
    await unfinished.abort()
  })

  it('goes on reading an object that is removed meanwhile', async (t) => {
    const { store } = await temporaryStore(t)
    await put(store, 'blobs/ab/one.1', pattern(100_000))
    const object = await store.open('blobs/ab/one.1')
    await store.remove(['blobs/ab/one.1'])
    assertSameBytes(await object.read(0, 100_000), pattern(100_000))
    await object.close()
  })

  it('notices that an object got shorter while it was read', async (t) => {
    const { root, store } = await temporaryStore(t)
    await put(store, 'blobs/ab/one.1', pattern(1000))
    const object = await store.open('blobs/ab/one.1')
    await fs.truncate(join(root, 'blobs/ab/one.1'), 500)
    await assertRefused(object.read(0, 1000), 'integrity')
    await object.close()
  })
})

describe('the way of an object to the disk', () => {
  it('is: sync its bytes, give it its name, sync the folder of the name', async (t) => {
    const { root, store } = await temporaryStore(t)
    await put(store, 'blobs/ab/earlier.1', pattern(10))
    const writer = await store.create('blobs/ab/one.1')
    await writer.write([pattern(3_000_000)])
    const steps = await recordSteps(t, root)
    await writer.commit()
    assert.deepEqual(steps, ['datasync tmp/*', 'rename blobs/ab/one.1', 'sync blobs/ab'])
  })

  it('begins with folders whose own names are on the disk', async (t) => {
    const { root, store } = await temporaryStore(t)
    const steps = await recordSteps(t, root)
    await (await store.create('blobs/ab/one.1')).abort()
    assert.deepEqual(steps, ['sync .', 'sync .', 'sync blobs'])
  })

  it('back ends with a sync of the folder, so that a removal is durable', async (t) => {
    const { root, store } = await temporaryStore(t)
    await put(store, 'blobs/ab/one.1', pattern(10))
    await put(store, 'blobs/ab/two.1', pattern(10))
    const steps = await recordSteps(t, root)
    await store.remove(['blobs/ab/one.1', 'blobs/ab/two.1'])
    assert.deepEqual(steps, ['sync blobs/ab'])
    assert.deepEqual(await filesBelow(root), [])
  })
})

describe('a disk that fails', () => {
  const causes = [
    ['ENOSPC', 'storage_full'],
    ['EDQUOT', 'storage_full'],
    ['EIO', 'storage_unavailable'],
    ['EROFS', 'storage_unavailable'],
    ['EMFILE', 'storage_unavailable'],
  ] as const

  for (const [code, refusal] of causes) {
    for (const step of ['writev', 'datasync', 'sync'] as const) {
      it(`with ${code} at ${step} makes ${refusal}, and nothing is left of the object`, async (t) => {
        const { root, store } = await temporaryStore(t)
        const writer = await store.create('blobs/ab/one.1')
        const broken = stub(t, await fileHandlePrototype(), step, () => async () => {
          throw systemError(code)
        })
        await assertRefused(async () => {
          for (let part = 0; part < 4; part += 1) await writer.write([pattern(1_000_000)])
          await writer.commit()
        }, refusal)
        broken.restore()
        await writer.abort()
        assert.deepEqual(await filesBelow(root), [])
      })
    }

    it(`with ${code} at the rename makes ${refusal}, and nothing is left of the object`, async (t) => {
      const { root, store } = await temporaryStore(t)
      const writer = await store.create('blobs/ab/one.1')
      await writer.write([pattern(1000)])
      stub(t, fs, 'rename', () => async () => {
        throw systemError(code)
      })
      await assertRefused(writer.commit(), refusal)
      await writer.abort()
      assert.deepEqual(await filesBelow(root), [])
    })

    it(`with ${code} at opening makes ${refusal}`, async (t) => {
      const { store } = await temporaryStore(t)
      await put(store, 'blobs/ab/one.1', pattern(10))
      stub(t, fs, 'open', () => async () => {
        throw systemError(code)
      })
      await assertRefused(store.create('blobs/ab/two.1'), refusal)
      await assertRefused(store.open('blobs/ab/one.1'), refusal)
    })

    it(`with ${code} at reading makes ${refusal}`, async (t) => {
      const { store } = await temporaryStore(t)
      await put(store, 'blobs/ab/one.1', pattern(10))
      const object = await store.open('blobs/ab/one.1')
      stub(t, await fileHandlePrototype(), 'read', () => async () => {
        throw systemError(code)
      })
      await assertRefused(object.read(0, 10), refusal)
      await object.close()
    })
  }

  it('is not asked a second time to sync: the kernel may have dropped what it could not write', async (t) => {
    const { store } = await temporaryStore(t)
    const writer = await store.create('blobs/ab/one.1')
    await writer.write([pattern(1000)])
    let syncs = 0
    stub(t, await fileHandlePrototype(), 'datasync', () => async () => {
      syncs += 1
      throw systemError('EIO')
    })
    await assertRefused(writer.commit(), 'storage_unavailable')
    await writer.abort()
    assert.equal(syncs, 1)
  })

  it('and takes only some bytes at a time still gets all of them', async (t) => {
    const { root, store } = await temporaryStore(t)
    const takes = [1, 70_000, 3, 999_999, 65_536]
    stub(t, await fileHandlePrototype(), 'writev', (real) => {
      return async function short(this: fs.FileHandle, buffers, position) {
        const most = takes.shift() ?? 500_000
        const bytes = Buffer.concat(buffers as unknown as Uint8Array[]).subarray(0, most)
        return real.call(this, [bytes], position) as never
      }
    })
    const writer = await store.create('blobs/ab/one.1')
    for (let part = 0; part < 5; part += 1) {
      await writer.write([pattern(300_000, part), pattern(1, part), pattern(299_999, part)])
    }
    await writer.commit()
    const parts = Array.from({ length: 5 }, (_, part) => [
      pattern(300_000, part),
      pattern(1, part),
      pattern(299_999, part),
    ])
    assertSameBytes(await fs.readFile(join(root, 'blobs/ab/one.1')), Buffer.concat(parts.flat()))
  })

  it('because it is full says so, keeps what it has, and takes more once there is room', async (t) => {
    const disk = await mountSmallDisk(t, 1)
    if (!disk) return
    const store = await openDiskStore(join(disk, 'data'))
    await put(store, 'blobs/ab/one.1', pattern(400_000))
    const writer = await store.create('blobs/ab/two.1')
    await assertRefused(async () => {
      for (let part = 0; part < 30; part += 1) await writer.write([pattern(100_000)])
      await writer.commit()
    }, 'storage_full')
    await writer.abort()
    assert.deepEqual(await filesBelow(join(disk, 'data')), ['blobs/ab/one.1'])
    assertSameBytes(await fs.readFile(join(disk, 'data/blobs/ab/one.1')), pattern(400_000))
    await put(store, 'blobs/ab/three.1', pattern(400_000))
  })
})

async function temporaryStore(t: TestContext): Promise<{ root: string; store: BlobStore }> {
  const root = join(await testFolder(t), 'root')
  return { root, store: await openDiskStore(root) }
}

async function put(store: BlobStore, name: string, bytes: Uint8Array): Promise<void> {
  const writer = await store.create(name)
  await writer.write([bytes])
  await writer.commit()
}

async function fileHandlePrototype(): Promise<fs.FileHandle> {
  const handle = await fs.open('/dev/null')
  await handle.close()
  return Object.getPrototypeOf(handle) as fs.FileHandle
}

/** Notes syncs and renames below `root` in their order. */
async function recordSteps(t: TestContext, root: string): Promise<string[]> {
  const steps: string[] = []
  const prototype = await fileHandlePrototype()
  for (const step of ['datasync', 'sync'] as const) {
    stub(t, prototype, step, (real) => {
      return async function recorded(this: fs.FileHandle) {
        const path = await fs.readlink(`/proc/self/fd/${this.fd}`)
        const name = path === root ? '.' : path.slice(root.length + 1)
        await real.call(this)
        steps.push(`${step} ${name.replace(/^tmp\/.*/, 'tmp/*')}`)
      }
    })
  }
  stub(t, fs, 'rename', (real) => async (from, to) => {
    await real(from, to)
    steps.push(`rename ${String(to).slice(root.length + 1)}`)
  })
  return steps
}
