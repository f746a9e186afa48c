/** Several servers on one PostgreSQL and one bucket, each a process of its own. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import {
  holdfast,
  holdfastJson,
  refusedStart,
  type ServerProcess,
  type Settings,
  startServerProcess,
} from '../e2e/processes.ts'
import { atEnd, testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { emptyDatabase, query } from '../packages/server/test/helpers/postgres.ts'
import { type Ceph, startCeph } from './ceph.ts'
import { startPostgres } from './postgres.ts'

const ceph = await startCeph()
const postgres = await startPostgres()
const missing = [ceph, postgres].filter((engine) => typeof engine === 'string')

if (typeof ceph === 'string' || missing.length > 0) {
  describe('several servers', { skip: missing.join(', ') }, () => undefined)
} else {
  describe('several servers on one database and one bucket', () => starts(ceph))
}

interface Place {
  /** Of each server and command. */
  readonly settings: Settings
  /** A folder that goes with the test, with the root key in it. */
  readonly folder: string
}

/** A database and a bucket in which nothing is yet. */
async function newPlace(t: TestContext, ceph: Ceph): Promise<Place> {
  const folder = await testFolder(t)
  const settings = {
    ...ceph.settings(ceph.place()),
    ...(await emptyDatabase(t)),
    HOLDFAST_DATA: join(folder, 'data'),
    HOLDFAST_ROOT_KEY_FILE: join(folder, 'root.key'),
    HOLDFAST_PREVIEW_MAX_MB: '0',
  }
  return { folder, settings }
}

/** Two servers that begin at the same moment. */
function startTwo(t: TestContext, settings: Settings): Promise<[ServerProcess, ServerProcess]> {
  return Promise.all([startServerProcess(t, settings), startServerProcess(t, settings)])
}

function starts(ceph: Ceph): void {
  it('make a new store together when they start at the same moment, without a data folder', async (t) => {
    const { settings } = await newPlace(t, ceph)
    const servers = await startTwo(t, settings)
    const said = servers.map(({ stdout }) => stdout())
    assert.equal(said.filter((text) => text.includes('Made the root key')).length, 1)
    assert.equal(existsSync(settings.HOLDFAST_DATA as string), false)

    const { epochs } = await holdfastJson<{ epochs: { epoch: number }[] }>(
      settings,
      ...['keys', 'status'],
    )
    assert.deepEqual(
      epochs.map(({ epoch }) => epoch),
      [1],
    )
    for (const { status } of await Promise.all(
      servers.map((server) => signedIn(settings, server)),
    )) {
      assert.equal(status, 200)
    }
    for (const server of servers) assert.equal((await server.stop()).code, 0)
  })

  it('need the root key to be named', async (t) => {
    const { settings } = await newPlace(t, ceph)
    const { HOLDFAST_ROOT_KEY_FILE: _, ...unnamed } = settings
    const { code, stderr } = await refusedStart(unnamed)
    assert.equal(code, 2)
    assert.match(stderr, /^holdfast: HOLDFAST_ROOT_KEY_FILE must be set when /)
  })

  it('refuse the bucket or the database of another store, and another root key', async (t) => {
    const one = (await newPlace(t, ceph)).settings
    const other = (await newPlace(t, ceph)).settings
    for (const settings of [one, other]) await (await startServerProcess(t, settings)).stop()
    const fresh = (await newPlace(t, ceph)).settings
    const { HOLDFAST_ROOT_KEY_FILE } = one
    for (const [crossed, message] of [
      [{ ...other, HOLDFAST_ROOT_KEY_FILE }, /wrong root key: this is age1/],
      [
        { ...other, HOLDFAST_DATABASE_URL: one.HOLDFAST_DATABASE_URL },
        /the database and the volume marker belong to different stores/,
      ],
      [
        { ...fresh, HOLDFAST_DATABASE_URL: one.HOLDFAST_DATABASE_URL },
        /the PostgreSQL database belongs to a store, but s3:\S+ is empty: is it the right bucket/,
      ],
      [
        { ...fresh, HOLDFAST_BLOBS_URL: one.HOLDFAST_BLOBS_URL },
        /the root key \S+ is missing; this store needs the one of age1/,
      ],
    ] as const) {
      const { code, stdout, stderr } = await refusedStart(crossed as Settings)
      assert.deepEqual([code, stdout], [2, ''])
      assert.match(stderr, message)
    }
  })

  it('keep another root key from being made beside them', async (t) => {
    const { settings, folder } = await newPlace(t, ceph)
    const newKey = join(folder, 'new.key')
    const words = ['keys', 'new-root', '--new-key-file', newKey]
    const none = await holdfast(settings, ...words)
    assert.deepEqual([none.code, existsSync(newKey)], [2, false])
    assert.match(none.stderr, /^holdfast: there is no store in s3:/)

    const server = await startServerProcess(t, settings)
    const beside = await holdfast(settings, ...words)
    assert.deepEqual([beside.code, existsSync(newKey)], [2, false])
    assert.match(beside.stderr, /^holdfast: a Holdfast server works on s3:/)
    await server.stop()
    assert.equal((await holdfastJson<{ made: boolean }>(settings, ...words)).made, true)
    assert.match((await refusedStart(settings)).stderr, /^holdfast: wrong root key/)
    const again = { ...settings, HOLDFAST_ROOT_KEY_FILE: newKey }
    await (await startServerProcess(t, again)).stop()
  })

  it('have their keys changed by one command at a time', async (t) => {
    const { settings } = await newPlace(t, ceph)
    await startTwo(t, settings)
    const both = await Promise.all(
      ['one', 'other'].map(() => holdfast(settings, 'keys', 'new-epoch', '--json')),
    )
    assert.deepEqual(new Set(both.map(({ code }) => code)), new Set([0, 2]))
    assert.match(
      both.map(({ stderr }) => stderr).join(''),
      /^holdfast: another command works on the keys of s3:/,
    )
  })
}

/** What the server says to a session that the command line made. */
async function signedIn(settings: Settings, server: ServerProcess): Promise<Response> {
  const email = `${server.pid}@example.com`
  await holdfastJson(settings, 'user', 'create', '--email', email, '--name', 'Ann Example')
  const session = await holdfastJson<Record<string, string>>(
    settings,
    ...['session', 'create', '--email', email],
  )
  const cookie = `accesstoken=${session.accesstoken}; tokentype=${session.tokentype}`
  return fetch(`${server.address}/v1/me`, { headers: { cookie } })
}
