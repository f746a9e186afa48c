import assert from 'node:assert/strict'
import fs, { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import {
  FolderError,
  folderPaths,
  lockFolder,
  readMarker,
  writeMarker,
} from '../../src/store/folder.ts'
import { type Stub, stub, systemError } from '../helpers/builtins.ts'
import { atEnd, testFolder } from '../helpers/cleanup.ts'
import { sendOtherProcess } from '../helpers/other-process.ts'

describe('the marker of a data folder', () => {
  it('is not there yet in a folder that is missing, empty or only locked', async (t) => {
    const data = join(await testFolder(t), 'data')
    assert.equal(await readMarker(data), undefined)
    await mkdir(data)
    assert.equal(await readMarker(data), undefined)
    await mkdir(join(data, 'lost+found'))
    const unlock = await lockFolder(data)
    assert.equal(await readMarker(data), undefined)
    unlock()
    assert.equal(await readMarker(data), undefined)
  })

  it('says which volume it is and which root key opens it', async (t) => {
    const data = await testFolder(t)
    const written = await writeMarker(data, 'age1example')
    assert.deepEqual(await readMarker(data), written)
    assert.deepEqual(written, { format: 1, volume: written.volume, root: 'age1example' })
    assert.match(written.volume, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-/)
    assert.equal((await stat(folderPaths(data).marker)).mode & 0o777, 0o600)
    assert.deepEqual(await readdir(data), ['holdfast-volume.json'])
  })

  it('is never written over', async (t) => {
    const data = await testFolder(t)
    const first = await writeMarker(data, 'age1example')
    await assert.rejects(writeMarker(data, 'age1other'), { code: 'EEXIST' })
    assert.deepEqual(await readMarker(data), first)
    assert.deepEqual(await readdir(data), ['holdfast-volume.json'])
  })

  it('is there whole or not at all, wherever its writing is interrupted', async (t) => {
    for (const step of ['writeFile', 'sync', 'link'] as const) {
      const data = await testFolder(t)
      const broken = await breakStep(t, step)
      await assert.rejects(writeMarker(data, 'age1example'), { code: 'EIO' })
      broken.restore()
      assert.equal(await readMarker(data), undefined, `interrupted at ${step}`)
      const written = await writeMarker(data, 'age1example')
      assert.deepEqual(await readMarker(data), written)
    }
  })

  it('is missed in a folder with anything else in it: an unmounted volume, somebody else’s files', async (t) => {
    for (const name of ['blobs', 'holdfast.db', 'letter.txt']) {
      const data = await testFolder(t)
      await writeFile(join(data, name), '')
      await assert.rejects(
        readMarker(data),
        new FolderError(
          `${data} has no volume marker (holdfast-volume.json). Is the right volume mounted? A new store needs an empty folder.`,
        ),
      )
    }
  })

  const damaged = ['', '{', 'null', '"text"', '[]', '{}', '{"format":1,"volume":"x"}', '\0\0\0\0']
  for (const text of damaged) {
    it(`is refused when it is damaged: ${JSON.stringify(text)}`, async (t) => {
      const data = await testFolder(t)
      await writeFile(folderPaths(data).marker, text)
      await assert.rejects(
        readMarker(data),
        new FolderError(`${folderPaths(data).marker} is damaged`),
      )
    })
  }

  it('is refused when it is of a format that this program does not know', async (t) => {
    const data = await testFolder(t)
    await writeFile(folderPaths(data).marker, '{"format":2,"volume":"x","root":"y"}')
    await assert.rejects(
      readMarker(data),
      new FolderError(`${data} has format 2; this program knows format 1`),
    )
  })
})

describe('the lock of a data folder', () => {
  it('makes the folder, for its owner alone', async (t) => {
    const data = join(await testFolder(t), 'some', 'data')
    const unlock = await lockFolder(data)
    atEnd(t, unlock)
    assert.equal((await stat(data)).mode & 0o777, 0o700)
  })

  it('refuses a second server in the same process, until the first gives it free', async (t) => {
    const data = await testFolder(t)
    const unlock = await lockFolder(data)
    await assert.rejects(lockFolder(data), new FolderError(`another Holdfast server holds ${data}`))
    unlock()
    const again = await lockFolder(data)
    again()
  })

  it('refuses a server in another process, and one from another process', async (t) => {
    const data = await testFolder(t)
    const other = sendOtherProcess(t, { do: 'hold-folder', data })
    await other.said('held')
    await assert.rejects(lockFolder(data), FolderError)

    const elsewhere = await testFolder(t)
    atEnd(t, await lockFolder(elsewhere))
    const refused = sendOtherProcess(t, { do: 'hold-folder', data: elsewhere })
    await assert.rejects(refused.said('held'))
  })

  it('dies with its process, however that ends', async (t) => {
    const data = await testFolder(t)
    const other = sendOtherProcess(t, { do: 'hold-folder', data })
    await other.said('held')
    await other.kill()
    const unlock = await lockFolder(data)
    unlock()
  })

  it('does not outlive its file: what lies there from earlier does not matter', async (t) => {
    const data = await testFolder(t)
    const unlock = await lockFolder(data)
    unlock()
    const again = await lockFolder(data)
    again()
    await rm(join(data, 'server.lock'))
    const anew = await lockFolder(data)
    anew()
  })
})

/** Lets a step of writing a file fail. */
async function breakStep(t: TestContext, step: 'writeFile' | 'sync' | 'link'): Promise<Stub> {
  const fail = async () => {
    throw systemError('EIO')
  }
  if (step === 'link') return stub(t, fs, 'link', () => fail)
  const handle = await fs.open('/dev/null')
  await handle.close()
  return stub(t, Object.getPrototypeOf(handle) as fs.FileHandle, step, () => fail)
}
