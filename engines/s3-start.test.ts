import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { refusedStart, startServerProcess } from '../e2e/processes.ts'
import { loadConfig } from '../packages/server/src/config.ts'
import { openS3Store } from '../packages/server/src/store/blobs/s3/store.ts'
import { testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { eventually } from '../packages/server/test/helpers/http.ts'
import { filesBelow } from '../packages/server/test/helpers/store.ts'
import { type Ceph, startCeph } from './ceph.ts'
import { startFaultProxy } from './fault-proxy.ts'

const ceph = await startCeph()

if (typeof ceph === 'string') describe('a server with a bucket', { skip: ceph }, () => undefined)
else describe('a server with a bucket', () => starts(ceph))

function starts(ceph: Ceph): void {
  it('starts again on it, and keeps nothing but its database in the data folder', async (t) => {
    const settings = {
      ...ceph.settings(ceph.place()),
      HOLDFAST_DATA: join(await testFolder(t), 'data'),
    }
    for (const _ of ['first', 'second']) await (await startServerProcess(t, settings)).stop()
    const files = await filesBelow(settings.HOLDFAST_DATA)
    assert.deepEqual(
      files.filter((name) => !name.endsWith('.lock')),
      ['holdfast-volume.json', 'holdfast.db'],
    )
  })

  it('refuses the bucket of another data folder, and says so', async (t) => {
    const folder = await testFolder(t)
    const shared = ceph.settings(ceph.place())
    await (await startServerProcess(t, { ...shared, HOLDFAST_DATA: join(folder, 'one') })).stop()
    const fresh = await refusedStart({ ...shared, HOLDFAST_DATA: join(folder, 'two') })
    assert.equal(fresh.code, 2)
    assert.match(fresh.stderr, /^holdfast: the bucket is no place for a new store: it holds /)

    const own = { ...ceph.settings(ceph.place()), HOLDFAST_DATA: join(folder, 'three') }
    await (await startServerProcess(t, own)).stop()
    const other = await refusedStart({ ...own, ...shared })
    assert.deepEqual(
      [other.code, other.stderr],
      [2, 'holdfast: the bucket belongs to another data folder\n'],
    )
  })

  it('refuses an empty bucket for a data folder that is in use', async (t) => {
    const data = join(await testFolder(t), 'data')
    await (await startServerProcess(t, { HOLDFAST_DATA: data })).stop()
    const { code, stderr } = await refusedStart({
      ...ceph.settings(ceph.place()),
      HOLDFAST_DATA: data,
    })
    assert.equal(code, 2)
    assert.match(
      stderr,
      /^holdfast: the bucket has no volume marker, but the data folder is in use/,
    )
  })

  it('refuses a bucket with blobs when its database is gone', async (t) => {
    const data = join(await testFolder(t), 'data')
    const settings = { ...ceph.settings(ceph.place()), HOLDFAST_DATA: data }
    await (await startServerProcess(t, { ...settings, HOLDFAST_SMALL_MAX_KB: '0' })).stop()

    const place = loadConfig(settings).blobs
    assert.ok(place)
    const store = await openS3Store(place)
    await store.replace('blobs/ab/one.1', Buffer.from('x'))
    await store.close()
    await rm(join(data, 'holdfast.db'))
    const { code, stderr } = await refusedStart(settings)
    assert.deepEqual(
      [code, stderr],
      [2, 'holdfast: there are blobs but no database: restore holdfast.db\n'],
    )
  })

  it('refuses a bucket that is not there or not hers, without her secret in the log', async (t) => {
    const data = join(await testFolder(t), 'data')
    const settings = { ...ceph.settings(ceph.place()), HOLDFAST_DATA: data }
    for (const [wrong, message] of [
      [
        { HOLDFAST_BLOBS_URL: `s3://nowhere-at-all?endpoint=${ceph.endpoint}` },
        /there is no such bucket/,
      ],
      [{ AWS_SECRET_ACCESS_KEY: 'guessed-by-somebody' }, /AWS_SECRET_ACCESS_KEY is not the one/],
    ] as const) {
      const { code, stdout, stderr } = await refusedStart({ ...settings, ...wrong })
      assert.equal(code, 2)
      assert.match(stderr, message)
      assert.doesNotMatch(stdout + stderr, /testsecret|guessed/)
      assert.doesNotMatch(stdout, /root key/, 'no key is made for nothing')
    }
  })

  it('is not ready while the bucket is out of reach', async (t) => {
    const proxy = await startFaultProxy(t, ceph.endpoint)
    const settings = ceph.settings(ceph.place(proxy.endpoint))
    const data = join(await testFolder(t), 'data')
    const server = await startServerProcess(t, { ...settings, HOLDFAST_DATA: data })
    const ready = async () => (await fetch(`${server.address}/health/ready`)).status
    proxy.fail('GET list-type', 'reset')
    await eventually(async () => (await ready()) === 503)
    assert.equal((await fetch(`${server.address}/health/live`)).status, 200)
    proxy.mend()
    await eventually(async () => (await ready()) === 200)
    await server.stop()
    assert.doesNotMatch(server.stderr(), /testsecret/)
  })
}
