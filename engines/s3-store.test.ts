import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { CreateBucketCommand, ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3'
import { type BlobStore, readObject } from '../packages/server/src/core/blobs/store.ts'
import { CoreError } from '../packages/server/src/core/errors.ts'
import { BucketError, type S3Place } from '../packages/server/src/store/blobs/s3/place.ts'
import { openS3Store, type S3Options } from '../packages/server/src/store/blobs/s3/store.ts'
import { splitBlobsSuite } from '../packages/server/test/core/split-blobs.suite.ts'
import { assertSameBytes, pattern } from '../packages/server/test/helpers/bytes.ts'
import { atEnd } from '../packages/server/test/helpers/cleanup.ts'
import { assertRefused } from '../packages/server/test/helpers/refusals.ts'
import { blobStoreSuite } from '../packages/server/test/store/blob-store.suite.ts'
import { type Ceph, startCeph } from './ceph.ts'
import { CREDENTIALS } from './ceph-client.ts'
import { type Fault, type FaultProxy, startFaultProxy } from './fault-proxy.ts'

const MIB = 1024 * 1024
/** Two full parts and a third one. */
const THREE_PARTS = pattern(11 * MIB + 17)
const ONE_PUT = pattern(300_000)
const NAME = 'blobs/ab/one.1'
/** Quick enough to be waited for, and slow enough for a busy machine. */
const QUICK: S3Options = {
  retries: { attempts: 3, firstWait: 5, longestWait: 20, within: 60_000 },
  timeouts: { connect: 5000, request: 2000, work: 2000, check: 2000 },
  writerGrace: 0,
}

const ONCE: Fault[] = [
  { status: 500 },
  { status: 503 },
  'reset',
  'hang',
  'reset after commit',
  'hang after commit',
]

const ceph = await startCeph()

if (typeof ceph === 'string') {
  describe('a blob store on S3', { skip: ceph }, () => undefined)
} else {
  blobStoreSuite('S3', (t) => openStore(t, ceph.place()))
  splitBlobsSuite('S3', (t) => openStore(t, ceph.place()))
  describe('a blob store on S3', () => own(ceph))
  describe('a request to S3 that goes wrong once', { concurrency: 4 }, () => faults(ceph))
  describe('S3 that fails for good', { concurrency: 4 }, () => failures(ceph))
  describe('a bucket that cannot be used', () => unusable(ceph))
}

function own(ceph: Ceph): void {
  for (const size of [5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB, 31 * MIB + 7]) {
    it(`gives ${size} bytes back, in one request or in parts`, async (t) => {
      const store = await openStore(t, ceph.place())
      await put(store, NAME, pattern(size))
      assertSameBytes(await readObject(store, NAME), pattern(size))
      const object = await store.open(NAME)
      for (const [offset, length] of [
        [0, 4096],
        [3 * MIB, 10],
        [3 * MIB + 10, MIB],
        [100_000, 70_000],
        [size - 1, 1],
      ] as const) {
        const expected = pattern(size).subarray(offset, offset + length)
        assertSameBytes(await object.read(offset, length), expected)
      }
      await object.close()
    })
  }

  it('never writes over an object', async (t) => {
    const store = await openStore(t, ceph.place())
    await put(store, NAME, ONE_PUT)
    const other = await store.create(NAME)
    await other.write([pattern(1000, 2)])
    await assert.rejects(other.commit(), CoreError)
    await other.abort()
    assertSameBytes(await readObject(store, NAME), ONE_PUT)
  })

  it('replaces what is meant to be replaced', async (t) => {
    const store = await openStore(t, ceph.place())
    for (const seed of [1, 2]) await store.replace('keyring/1.age', pattern(500, seed))
    assertSameBytes(await readObject(store, 'keyring/1.age'), pattern(500, 2))
  })

  it('aborts uploads that were left behind, and neither its own nor younger ones', async (t) => {
    const place = ceph.place()
    const store = await openStore(t, place, QUICK)
    const left = await store.create('blobs/ab/left.1')
    await left.write([pattern(6 * MIB)])
    const patient = await openStore(t, place)
    await patient.clearUnfinished()
    assert.equal((await uploadsBelow(ceph, place)).length, 1, 'younger than a day')
    await store.clearUnfinished()
    assert.equal((await uploadsBelow(ceph, place)).length, 1, 'its own')
    const next = await openStore(t, place, QUICK)
    await next.clearUnfinished()
    assert.deepEqual(await uploadsBelow(ceph, place), [])
    await left.abort()
  })

  it('keeps to its memory while more upload than it has buffers for', async (t) => {
    const store = await openStore(t, ceph.place())
    const numbers = Array.from({ length: 80 }, (_, index) => index)
    const writers = await Promise.all(numbers.map((n) => store.create(`blobs/aa/${n}.1`)))
    // The first 64 hold a buffer each, and the others wait until these are done.
    await Promise.all(
      writers.map(async (writer, n) => {
        await writer.write([pattern(1000, n)])
        await writer.commit()
      }),
    )
    for (const n of numbers) {
      assertSameBytes(await readObject(store, `blobs/aa/${n}.1`), pattern(1000, n))
    }
  })

  it('says that it is full, and takes more once there is room', async (t) => {
    const small = await makeSmallUser(ceph)
    atEnd(t, () => small.client.destroy())
    const store = await openStore(t, small.place)
    await assertRefused(put(store, NAME, THREE_PARTS), 'storage_full')
    assert.deepEqual(await names(store), [])
    small.grow()
    await put(store, 'blobs/ab/two.1', ONE_PUT)
  })
}

function faults(ceph: Ceph): void {
  for (const fault of ONCE) {
    const told = typeof fault === 'object' ? fault.status : fault
    for (const [request, bytes] of [
      ['PUT', ONE_PUT],
      ['HEAD', THREE_PARTS],
      ['POST uploads', THREE_PARTS],
      ['PUT partNumber', THREE_PARTS],
      ['POST uploadId', THREE_PARTS],
    ] as const) {
      it(`leaves one whole object: ${request}, ${told}`, async (t) => {
        const { store, proxy, place } = await openFaulty(t, ceph)
        proxy.fail(request, fault, 1)
        await put(store, NAME, bytes)
        assert.equal(proxy.failed(), 1)
        assertSameBytes(await readObject(store, NAME), bytes)
        assert.deepEqual(await names(store), [NAME])
        await sweptClean(t, ceph, place)
      })
    }

    it(`is made good: reading, listing, removing, ${told}`, async (t) => {
      const { store, proxy } = await openFaulty(t, ceph)
      for (const name of ['blobs/ab/one.1', 'blobs/ab/two.1', 'blobs/ab/three.1']) {
        await put(store, name, ONE_PUT)
      }
      for (const request of ['GET', 'GET list-type', 'DELETE', 'PUT copy']) {
        proxy.fail(request, fault, 1)
      }
      assertSameBytes(await readObject(store, NAME), ONE_PUT)
      await store.remove(['blobs/ab/two.1'])
      await store.moveToTrash('blobs/ab/three.1')
      assert.deepEqual(await names(store), [NAME])
      assert.equal(await store.emptyTrash(Date.now() + 10_000), 1)
      assert.equal(proxy.failed(), 4)
    })
  }

  it('is read on where it broke: a body of which half came, again and again', async (t) => {
    const { store, proxy } = await openFaulty(t, ceph)
    await put(store, NAME, THREE_PARTS)
    proxy.fail('GET', 'truncate', 2)
    assertSameBytes(await readObject(store, NAME), THREE_PARTS)
    assert.equal(proxy.failed(), 2)
  })
}

function failures(ceph: Ceph): void {
  for (const fault of [{ status: 503 }, 'reset', 'hang after commit'] as const) {
    const told = typeof fault === 'object' ? fault.status : fault
    for (const [request, bytes] of [
      ['PUT', ONE_PUT],
      ['POST uploads', THREE_PARTS],
      ['PUT partNumber', THREE_PARTS],
      ['POST uploadId', THREE_PARTS],
    ] as const) {
      it(`makes storage_unavailable or a whole object, and no half one: ${request}, ${told}`, async (t) => {
        const { store, proxy, place } = await openFaulty(t, ceph)
        proxy.fail(request, fault)
        // Neither is it possible to look whether it succeeded.
        proxy.fail('HEAD', { status: 503 })
        const writer = await store.create(NAME)
        await assertRefused(async () => {
          await writer.write([Buffer.from(bytes)])
          await writer.commit()
        }, 'storage_unavailable')
        proxy.mend()
        await writer.abort()
        assert.deepEqual(await names(store), [])
        await sweptClean(t, ceph, place)
      })
    }
  }

  it('makes storage_unavailable of everything else', async (t) => {
    const { store, proxy } = await openFaulty(t, ceph)
    await put(store, NAME, ONE_PUT)
    for (const request of ['GET', 'GET list-type', 'HEAD', 'DELETE', 'GET uploads']) {
      proxy.fail(request, { status: 503 })
    }
    const all = [
      () => store.open(NAME),
      () => names(store),
      () => store.remove([NAME]),
      () => store.moveToTrash(NAME),
      () => store.emptyTrash(0),
      () => store.clearUnfinished(),
      () => store.check(),
    ]
    for (const work of all) await assertRefused(work, 'storage_unavailable')
    proxy.mend()
    assertSameBytes(await readObject(store, NAME), ONE_PUT)
  })

  it('makes an error of a body that never ends, not fewer bytes', async (t) => {
    const { store, proxy } = await openFaulty(t, ceph)
    await put(store, NAME, THREE_PARTS)
    const object = await store.open(NAME)
    proxy.fail('GET', 'hang')
    await assertRefused(object.read(MIB, MIB), 'storage_unavailable')
    await object.close()
  })
}

function unusable(ceph: Ceph): void {
  const place = ceph.place()
  const refusals: [string, S3Place, RegExp][] = [
    ['is not there', { ...place, bucket: 'no-such-bucket' }, /there is no such bucket$/],
    [
      'does not know the key',
      { ...place, credentials: { ...CREDENTIALS, accessKeyId: 'nobody' } },
      /AWS_ACCESS_KEY_ID is not known there$/,
    ],
    [
      'was given another secret',
      { ...place, credentials: { ...CREDENTIALS, secretAccessKey: 'guessed' } },
      /AWS_SECRET_ACCESS_KEY is not the one of this access key$/,
    ],
    ['does not answer', { ...place, endpoint: 'http://127.0.0.1:1' }, /ECONNREFUSED/],
  ]
  for (const [why, there, message] of refusals) {
    it(`says so: it ${why}`, async () => {
      await assert.rejects(openS3Store(there, QUICK), (error) => {
        assert.ok(error instanceof BucketError)
        assert.match(error.message, message)
        assert.doesNotMatch(JSON.stringify([error, error.cause]), /testsecret|guessed/)
        return true
      })
    })
  }
}

async function openStore(t: TestContext, place: S3Place, options?: S3Options): Promise<BlobStore> {
  const store = await openS3Store(place, options)
  atEnd(t, () => store.close())
  return store
}

async function openFaulty(
  t: TestContext,
  ceph: Ceph,
): Promise<{ store: BlobStore; proxy: FaultProxy; place: S3Place }> {
  const proxy = await startFaultProxy(t, ceph.endpoint)
  const place = ceph.place(proxy.endpoint)
  return { store: await openStore(t, place, QUICK), proxy, place }
}

async function put(store: BlobStore, name: string, bytes: Uint8Array): Promise<void> {
  const writer = await store.create(name)
  try {
    // In pieces of its own: the store takes what it is given.
    for (let at = 0; at < bytes.byteLength; at += 1_000_000) {
      await writer.write([Uint8Array.from(bytes.subarray(at, at + 1_000_000))])
    }
    await writer.commit()
  } catch (error) {
    await writer.abort()
    throw error
  }
}

async function names(store: BlobStore): Promise<string[]> {
  const found: string[] = []
  for await (const { name } of store.list('blobs/')) found.push(name)
  return found
}

/** What a process that starts later clears away leaves no parts. */
async function sweptClean(t: TestContext, ceph: Ceph, place: S3Place): Promise<void> {
  const later = await openStore(t, { ...place, endpoint: ceph.endpoint }, QUICK)
  await later.clearUnfinished()
  assert.deepEqual(await uploadsBelow(ceph, place), [])
}

async function uploadsBelow(ceph: Ceph, { prefix }: S3Place): Promise<string[]> {
  const { Uploads = [] } = await ceph.client.send(
    new ListMultipartUploadsCommand({ Bucket: ceph.bucket, Prefix: prefix }),
  )
  return Uploads.map(({ Key }) => String(Key))
}

/** Somebody who may keep a MiB, and who can be given more. */
async function makeSmallUser(ceph: Ceph): Promise<{
  place: S3Place
  client: S3Client
  grow(): void
}> {
  const admin = (...words: string[]) =>
    execFileSync(
      'radosgw-admin',
      ['--conf', join(ceph.folder, 'ceph.conf'), '-n', 'client.gateway0', ...words],
      { stdio: 'pipe' },
    )
  const credentials = { accessKeyId: 'smallaccess', secretAccessKey: 'smallsecret12345678' }
  const keys = [
    `--access-key=${credentials.accessKeyId}`,
    `--secret-key=${credentials.secretAccessKey}`,
  ]
  admin('user', 'create', '--uid=small', '--display-name=small', ...keys)
  admin('quota', 'set', '--quota-scope=user', '--uid=small', '--max-size=1M')
  admin('quota', 'enable', '--quota-scope=user', '--uid=small')
  const place = { ...ceph.place(), bucket: 'holdfast-small', credentials }
  const client = new S3Client({
    region: place.region,
    endpoint: ceph.endpoint,
    forcePathStyle: true,
    credentials,
  })
  await client.send(new CreateBucketCommand({ Bucket: place.bucket }))
  return {
    place,
    client,
    grow: () => admin('quota', 'disable', '--quota-scope=user', '--uid=small'),
  }
}
