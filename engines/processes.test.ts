/** Several servers on one PostgreSQL and one bucket, each a process of its own. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startNginx } from '../e2e/nginx.ts'
import {
  createSession,
  eventually,
  holdfast,
  holdfastJson,
  refusedStart,
  type ServerProcess,
  type Settings,
  startServerProcess,
} from '../e2e/processes.ts'
import { slowForm } from '../e2e/slow-form.ts'
import { hasTool } from '../e2e/tools.ts'
import { loadConfig } from '../packages/server/src/config.ts'
import type { SweepReport } from '../packages/server/src/core/blobs/sweep.ts'
import { type Core, createCore } from '../packages/server/src/core/core.ts'
import type { Reader } from '../packages/server/src/core/database.ts'
import { armFailpoints } from '../packages/server/src/core/failpoints.ts'
import { openKeyring } from '../packages/server/src/core/keys/keyring.ts'
import { requireProcess } from '../packages/server/src/core/processes/processes.ts'
import { openForServer } from '../packages/server/src/open.ts'
import { placeName } from '../packages/server/src/store/blobs/s3/place.ts'
import { openS3Store } from '../packages/server/src/store/blobs/s3/store.ts'
import { openCommandPostgres } from '../packages/server/src/store/database/postgres.ts'
import { lockPostgres } from '../packages/server/src/store/database/postgres-lock.ts'
import { readRootKey } from '../packages/server/src/store/root-key.ts'
import { link } from '../packages/server/test/helpers/blobs.ts'
import {
  assertSameBytes,
  collect,
  inPieces,
  pattern,
} from '../packages/server/test/helpers/bytes.ts'
import { atEnd } from '../packages/server/test/helpers/cleanup.ts'
import { fileForm, filesPath, type Resource } from '../packages/server/test/helpers/companies.ts'
import { jpeg } from '../packages/server/test/helpers/pictures.ts'
import { query } from '../packages/server/test/helpers/postgres.ts'
import { PUBLIC_KEY, TestClock } from '../packages/server/test/helpers/server.ts'
import { rowsOf, tamper } from '../packages/server/test/helpers/store.ts'
import { type Ceph, startCeph } from './ceph.ts'
import { startPostgres } from './postgres.ts'
import {
  chunkQuery,
  contentOf,
  fetchFile,
  newSharedPlace,
  type Pair,
  sendFile,
  startPair,
} from './server-pair.ts'

const ceph = await startCeph()
const postgres = await startPostgres()
const missing = [ceph, postgres].filter((engine) => typeof engine === 'string')

if (typeof ceph === 'string' || missing.length > 0) {
  describe('several servers', { skip: missing.join(', ') }, () => undefined)
} else {
  describe('several servers on one database and one bucket', () => starts(ceph))
  describe('what a server has begun', () => beginnings(ceph))
  describe('two servers', () => pairs(ceph))
}

/** Two servers that begin at the same moment. */
function startTwo(t: TestContext, settings: Settings): Promise<[ServerProcess, ServerProcess]> {
  return Promise.all([startServerProcess(t, settings), startServerProcess(t, settings)])
}

function starts(ceph: Ceph): void {
  it('make a new store together when they start at the same moment, without a data folder', async (t) => {
    const { settings } = await newSharedPlace(t, ceph)
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

  it('say what they wait for while another one starts', async (t) => {
    const { settings } = await newSharedPlace(t, ceph)
    const { postgres = assert.fail(), blobs = assert.fail() } = loadConfig(settings)
    const starting = (await lockPostgres(postgres, 'start', { waitMs: 1 })) ?? assert.fail()
    const second = startServerProcess(t, settings)
    const waiting = `select 1 from pg_locks where locktype = 'advisory' and not granted`
    await eventually('the second one waits', 20_000, async () => {
      return (await query(postgres, waiting)).length > 0 || undefined
    })
    await starting.release()
    await (await second).logged(
      `another Holdfast server is starting on ${placeName(blobs)}, or migrate or keys new-root works on it: this start waits for that`,
    )
  })

  it('keep a command that works alone from waiting for their start', async (t) => {
    const { settings, folder } = await newSharedPlace(t, ceph)
    await (await startServerProcess(t, settings)).stop()
    const { postgres = assert.fail() } = loadConfig(settings)
    const starting = (await lockPostgres(postgres, 'start', { waitMs: 1 })) ?? assert.fail()
    const words = ['keys', 'new-root', '--new-key-file', join(folder, 'new.key')]
    const { code, stderr } = await holdfast(settings, ...words)
    await starting.release()
    assert.equal(code, 2)
    assert.match(stderr, /^holdfast: a Holdfast server is starting on s3:\S+, or migrate or keys /)
  })

  it('do not serve when another one may have started before they were done', async (t) => {
    const { settings } = await newSharedPlace(t, ceph)
    const config = loadConfig(settings)
    const { postgres = assert.fail() } = config
    const open = () => openForServer(config, Date.now, assert.ifError)
    atEnd(t, () => armFailpoints(undefined))
    armFailpoints(async (name) => {
      if (name !== 'start.keyring-opened') return
      await query(
        postgres,
        `select pg_terminate_backend(pid) from pg_locks join pg_database on oid = database
          where locktype = 'advisory' and datname = current_database()`,
      )
    })
    await assert.rejects(open(), (error) => {
      assert.match(
        String(error),
        /^FolderError: a lock is lost: terminating connection .* Start again$/,
      )
      return true
    })
    armFailpoints(undefined)
    assert.deepEqual(await rowsOf(config, 'select id from server_process'), [])
    await (await open()).close()
  })

  it('need the root key to be named', async (t) => {
    const { settings } = await newSharedPlace(t, ceph)
    const { HOLDFAST_ROOT_KEY_FILE: _, ...unnamed } = settings
    const { code, stderr } = await refusedStart(unnamed)
    assert.equal(code, 2)
    assert.match(stderr, /^holdfast: HOLDFAST_ROOT_KEY_FILE must be set when /)
  })

  it('refuse the bucket or the database of another store, and another root key', async (t) => {
    const one = (await newSharedPlace(t, ceph)).settings
    const other = (await newSharedPlace(t, ceph)).settings
    for (const settings of [one, other]) await (await startServerProcess(t, settings)).stop()
    const fresh = (await newSharedPlace(t, ceph)).settings
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

  it('are not joined by one that would change the schema beneath them', async (t) => {
    const { settings } = await newSharedPlace(t, ceph)
    const server = await startServerProcess(t, settings)
    const config = loadConfig(settings)
    const newest = `(select max(name) from kysely_migration)`
    await tamper(config, `update kysely_migration set name = '0006-older' where name = ${newest}`)
    const { code, stderr } = await refusedStart(settings)
    assert.equal(code, 2)
    assert.match(stderr, /^holdfast: servers of an older version work on the database: stop them/)
    await server.stop()
  })

  it('keep another root key from being made beside them', async (t) => {
    const { settings, folder } = await newSharedPlace(t, ceph)
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
    const { settings } = await newSharedPlace(t, ceph)
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

/** A lease of the jobs, and the turn at which another process takes it. */
const TAKEN_OVER_WITHIN_MS = 60_000
const MB = 1024 * 1024

function pairs(ceph: Ceph): void {
  it('know each other’s sessions, tokens and files, and that they ended', async (t) => {
    const pair = await startPair(t, ceph)
    const { one, other, settings, email } = pair
    const session = await createSession(settings, email)
    const headers: Record<string, string> = {
      ...session.headers,
      'content-type': 'application/json',
    }
    const body = JSON.stringify({ title: 'A box', public_key: PUBLIC_KEY })
    const made = await fetch(`${one.address}/boxes`, { method: 'POST', headers, body })
    assert.equal(made.status, 201)
    const { id } = (await made.json()) as { id: string }
    const seen = () => fetch(`${other.address}/boxes/${id}`, { headers })
    assert.equal((await seen()).status, 200)
    const { 'x-csrf-token': _, ...withoutCsrf } = headers
    const forged = await fetch(`${other.address}/boxes`, {
      method: 'POST',
      headers: withoutCsrf,
      body,
    })
    assert.equal(forged.status, 403)

    for (const content of [pattern(1000), pattern(12 * MB)]) {
      const file = await sendFile(pair, one.address, content)
      assertSameBytes(await contentOf(pair, other.address, file.id), content)
    }
    const out = await fetch(`${other.address}/auth/logout`, { method: 'POST', headers, body: '{}' })
    assert.ok(out.status < 300, String(out.status))
    assert.equal((await seen()).status, 401)
  })

  it('put together a file whose chunks come to both of them, some at the same time', async (t) => {
    const pair = await startPair(t, ceph)
    const { one, other } = pair
    const chunk = 300_000
    const content = pattern(10 * chunk - 1)
    const chunks = Math.ceil(content.length / chunk)
    const { id: fileId } = await announceFile(pair, one.address, content.length, chunks)
    await Promise.all(
      Array.from({ length: chunks }, async (_, index) => {
        const bytes = content.subarray(index * chunk, (index + 1) * chunk)
        const query = chunkQuery(index + 1, chunks, content.length)
        // A client that was not answered asks again, and may reach the other one.
        const servers = index % 3 === 0 ? [one, other] : [index % 2 === 0 ? one : other]
        for (const { address } of servers) await sendFile(pair, address, bytes, { fileId, query })
      }),
    )
    for (const { address } of [one, other]) {
      assertSameBytes(await contentOf(pair, address, fileId), content)
    }
  })

  it('let a client of one read on while the other overwrites the file', async (t) => {
    const pair = await startPair(t, ceph)
    const { one, other, app: headers } = pair
    const content = pattern(40 * MB)
    const { id: fileId } = await sendFile(pair, one.address, content)
    const reading = await fetchFile(pair, other.address, fileId)
    const reader = reading.body?.getReader() ?? assert.fail()
    const pieces = [(await reader.read()).value ?? assert.fail()]

    const next = pattern(3 * MB, 2)
    await sendFile(pair, one.address, next, { fileId, headers })
    assertSameBytes(await contentOf(pair, other.address, fileId), next)
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      pieces.push(step.value)
    }
    assertSameBytes(Buffer.concat(pieces), content)
  })

  it('count the requests of an address together', async (t) => {
    const pair = await startPair(t, ceph, { HOLDFAST_API_RATE_LIMIT: '7' })
    const ask = ({ address }: ServerProcess) =>
      fetch(`${address}/api/files`, { headers: pair.member })
    const servers = [pair.one, pair.other]
    const left: (string | null)[] = []
    for (let count = 0; count < 7; count += 1) {
      const answer = await ask(servers[count % 2] ?? assert.fail())
      left.push(answer.headers.get('x-ratelimit-remaining'))
    }
    assert.deepEqual(left, ['6', '5', '4', '3', '2', '1', '0'])
    for (const server of servers) assert.equal((await ask(server)).status, 429)
  })

  it('do the common work one at a time, and go on with it when one is killed', async (t) => {
    const pair = await startPair(t, ceph)
    const { one, other } = pair
    await one.logged('swept')
    const hasSwept = () => other.stderr().includes('"swept"') || undefined
    assert.equal(hasSwept(), undefined)
    await one.kill()
    await eventually('the other one sweeps', TAKEN_OVER_WITHIN_MS, hasSwept)

    const third = await startServerProcess(t, pair.settings)
    assert.equal((await other.stop()).code, 0)
    await third.logged('swept')
  })

  it('make the previews that one of them was making when it was killed', async (t) => {
    const pair = await startPair(t, ceph, { HOLDFAST_PREVIEW_MAX_MB: '50' })
    const { one, other, member: headers } = pair
    const form = fileForm(await jpeg(4000, 3000), { filename: 'a.jpg', type: 'image/jpeg' })
    const sent = await fetch(one.address + filesPath(pair.company), {
      method: 'POST',
      headers,
      body: form,
    })
    const { resource } = (await sent.json()) as { resource: Resource }
    await one.kill()
    const path = filesPath(pair.company, resource.id)
    const isShown = async () => {
      const answer = await fetch(other.address + path, { headers })
      const { thumbnails } = ((await answer.json()) as { resource: Resource }).resource
      return thumbnails.length > 0 || undefined
    }
    await eventually('the other one makes it', TAKEN_OVER_WITHIN_MS, isShown)
  })

  it('leave each other’s uploads alone, and so do commands beside them', async (t) => {
    const pair = await startPair(t, ceph)
    const { one, other, settings } = pair
    const content = pattern(16 * MB)
    const slow = slowForm(content, pair.member)
    const sent = fetch(one.address + filesPath(pair.company), slow.request)
    await slow.half
    await other.stop()
    const checks = [
      ['gc', '--grace', '1h'],
      ['fsck', '--repair', '--grace', '1h'],
    ]
    for (const words of checks) assert.equal((await holdfast(settings, ...words)).code, 0)
    const third = await startServerProcess(t, settings)
    slow.goOn()
    const answer = await sent
    assert.equal(answer.status, 200)
    const { resource } = (await answer.json()) as { resource: { id: string } }
    assertSameBytes(await contentOf(pair, third.address, resource.id), content)
  })

  it('serve behind one nginx, whichever of them a request goes to', async (t) => {
    if (!hasTool(t, 'nginx')) return
    const pair = await startPair(t, ceph, { HOLDFAST_TRUSTED_PROXIES: '127.0.0.1' })
    const { address } = await startNginx(t, [pair.one.address, pair.other.address])
    const content = pattern(48 * MB)
    const whole = await sendFile(pair, address, content)
    const part = await fetchFile(pair, address, whole.id, { range: `bytes=${40 * MB}-` })
    assert.equal(part.status, 206)
    assertSameBytes(Buffer.from(await part.arrayBuffer()), content.subarray(40 * MB))

    const chunk = 6 * MB
    const chunks = content.length / chunk
    const { id: fileId } = await announceFile(pair, address, content.length, chunks)
    for (let number = 1; number <= chunks; number += 1) {
      const bytes = content.subarray((number - 1) * chunk, number * chunk)
      await sendFile(pair, address, bytes, {
        ...{ fileId, query: chunkQuery(number, chunks, content.length) },
      })
    }
    assertSameBytes(await contentOf(pair, address, fileId), content)
    for (const { stderr } of [pair.one, pair.other]) {
      assert.match(stderr(), /"method":"POST","route":"[^"]*files[^"]*","status":200/)
    }
  })

  it('both follow a new epoch, and serve while everything is sealed anew', async (t) => {
    const pair = await startPair(t, ceph, { HOLDFAST_SMALL_MAX_KB: '1' })
    const { one, other, settings } = pair
    const contents = Array.from({ length: 6 }, (_, index) => pattern(200_000 + index, index))
    const servers = [one, other]
    const files = await Promise.all(
      contents.map((bytes, index) => sendFile(pair, (servers[index % 2] ?? one).address, bytes)),
    )
    await holdfastJson(settings, 'keys', 'new-epoch')
    for (const { address } of servers) {
      const content = pattern(300_000, contents.length)
      contents.push(content)
      files.push(await sendFile(pair, address, content))
    }
    const sealing = new AbortController()
    const using = servers.map(async ({ address }) => {
      do {
        for (const [index, { id }] of files.slice(0, 8).entries()) {
          assertSameBytes(await contentOf(pair, address, id), contents[index] ?? assert.fail())
        }
        await sendFile(pair, address, pattern(150_000))
      } while (!sealing.signal.aborted)
    })
    const report = await holdfastJson<{ dropped: number[]; left: number[] }>(
      settings,
      ...['keys', 'rekey'],
    )
    sealing.abort()
    await Promise.all(using)
    assert.deepEqual([report.dropped, report.left], [[1], []])
    const { code, stdout } = await holdfast(settings, 'fsck', '--json')
    assert.equal(code, 0, stdout)
  })
}

/** Makes a file whose content comes in chunks. */
async function announceFile(
  { company, member: headers }: Pair,
  address: string,
  size: number,
  chunks: number,
): Promise<{ id: string }> {
  const query = new URLSearchParams({
    filename: 'film.mkv',
    total_size: String(size),
    total_chunks: String(chunks),
  })
  const answer = await fetch(address + filesPath(company, undefined, `?${query}`), {
    method: 'POST',
    headers,
  })
  return ((await answer.json()) as { resource: { id: string } }).resource
}

const HOUR_MS = 3600 * 1000
/** What no row names and is older belongs to nobody. */
const GRACE_MS = 24 * HOUR_MS
const NOTHING_DONE = { finished: 0, trashed: 0, suspicious: 0, removed: 0 }

/** Servers that go by a clock of the test, in this process, without their jobs. */
async function openCores(t: TestContext, ceph: Ceph) {
  const { settings } = await newSharedPlace(t, ceph)
  const config = loadConfig(settings)
  await (await openForServer(config, Date.now, assert.ifError)).close()
  const clock = new TestClock()
  clock.now = Date.now()
  async function open(): Promise<Core> {
    const { blobs = assert.fail(), postgres = assert.fail() } = config
    const store = await openS3Store(blobs)
    const database = await openCommandPostgres(postgres)
    atEnd(t, async () => {
      await database.close()
      await store.close()
    })
    const root = (await readRootKey(config.rootKeyFile, config.data)) ?? assert.fail()
    const keyring = await openKeyring(store, root)
    const sharedClock = { read: clock.read, set: async () => undefined }
    const core = createCore({ ...config, database, store, keyring, clock: clock.read, sharedClock })
    await core.processes?.join()
    return core
  }
  const [one, other] = [await open(), await open()]
  const { id } = await one.identities.createPerson({ email: 'keeper@example.com', name: 'Keeper' })
  return { config, clock, one, other, keeper: id }
}

function beginnings(ceph: Ceph): void {
  const content = pattern(100_000)
  const stage = ({ blobs }: Core) => blobs.stage(inPieces(content), content.length)

  it('is left alone by the sweeps of others, however long it takes', async (t) => {
    const { config, clock, one, other, keeper } = await openCores(t, ceph)
    const staged = await stage(one)
    for (let day = 0; day < 2; day += 1) {
      clock.advance(GRACE_MS)
      for (const core of [other, one]) assert.equal(await core.processes?.beat(), true)
      assert.deepEqual(await other.sweep(clock.now), NOTHING_DONE)
      const gc = { dryRun: false, grace: HOUR_MS, limit: 10, force: false }
      assert.equal((await other.checks.gc({ ...gc, served: false })).trashed, 0)
    }
    await one.blobs.keep(staged, (writer) => link(writer, keeper, staged.id))
    assertSameBytes(await collect(other.blobs.read(staged, 0, staged.size)), content)

    await one.processes?.beat()
    const told = await rowsOf(config, 'select object from staged_object')
    assert.deepEqual(told, [], 'what has its row is nobody’s beginning any more')
  })

  it('is told again when the answer was lost, and its server goes on saying that it is there', async (t) => {
    const { config, clock, one, other } = await openCores(t, ceph)
    const { object } = (await stage(one)).parts[0] ?? assert.fail()
    clock.advance(GRACE_MS)
    await other.processes?.leave()
    // As a beat leaves it whose commit nobody heard of.
    const unheard =
      'insert into staged_object (object, process_id) select ?, id from server_process'
    await tamper(config, unheard, object)
    assert.equal(await one.processes?.beat(), true)
    assert.deepEqual(await rowsOf(config, 'select object from staged_object'), [{ object }])
  })

  it('goes once that server is taken for dead, and is refused if it was not', async (t) => {
    const { config, clock, one, other, keeper } = await openCores(t, ceph)
    const staged = await stage(one)
    clock.advance(GRACE_MS + HOUR_MS)
    await other.processes?.beat()
    // By the test's clock it has lain in the trash for a day as well.
    assert.deepEqual(await other.sweep(clock.now), { ...NOTHING_DONE, trashed: 1, removed: 1 })
    await assert.rejects(
      one.blobs.keep(staged, (writer) => link(writer, keeper, staged.id)),
      { code: 'storage_unavailable' },
    )
    assert.deepEqual(await rowsOf(config, 'select id from blob'), [])

    assert.equal(await one.processes?.beat(), false, 'it joins again')
    const next = await stage(one)
    await one.blobs.keep(next, (writer) => link(writer, keeper, next.id))
    assert.equal(await one.processes?.beat(), true)
  })

  it('is not taken while its transaction runs: whoever wants to waits for that', async (t) => {
    const { clock, one, other, keeper } = await openCores(t, ceph)
    const staged = await stage(one)
    clock.advance(GRACE_MS + HOUR_MS)
    await other.processes?.beat()
    let sweeping: Promise<SweepReport> | undefined
    await one.blobs.keep(staged, async (writer, changes) => {
      await link(writer, keeper, staged.id)
      // As late as can be: the row is locked, and its end is all that is missing.
      await requireProcess(writer, (await serverIds(writer))[0] ?? '')
      sweeping ??= other.sweep(clock.now)
      await delay(500)
      changes.take(staged.parts[0]?.object ?? '')
    })
    assert.deepEqual(await sweeping, NOTHING_DONE)
    assertSameBytes(await collect(other.blobs.read(staged, 0, staged.size)), content)
  })

  for (const [bytes, where] of [
    [content, 'the bucket'],
    [pattern(10), 'the database'],
  ] as const) {
    it(`is overwritten, but its bytes in ${where} wait for an hour for those who read them elsewhere`, async (t) => {
      const { config, clock, one, other, keeper } = await openCores(t, ceph)
      const staged = await one.blobs.stage(inPieces(bytes), bytes.length)
      await one.blobs.keep(staged, (writer) => link(writer, keeper, staged.id))
      await one.blobs.changing(async (writer, { replace }) => {
        await writer.deleteFrom('saved_file').execute()
        await replace(staged.id)
      })
      clock.advance(HOUR_MS - 1)
      assert.deepEqual(await other.sweep(clock.now), NOTHING_DONE)
      assertSameBytes(await collect(other.blobs.read(staged, 0, staged.size)), bytes)
      const fsck = { served: false, grace: HOUR_MS, repair: false, most: 10 }
      assert.deepEqual((await other.checks.fsck(fsck)).findings, [])
      clock.advance(1)
      assert.deepEqual(await other.sweep(clock.now), { ...NOTHING_DONE, finished: 1 })
      assert.deepEqual(await rowsOf(config, 'select id from blob'), [])
      assert.deepEqual(await rowsOf(config, 'select blob_id from small_content'), [])
    })
  }
}

async function serverIds(reader: Reader): Promise<string[]> {
  const rows = await reader.selectFrom('server_process').select('id').orderBy('heard_at').execute()
  return rows.map(({ id }) => id)
}

/** What the server says to a session that the command line made. */
async function signedIn(settings: Settings, server: ServerProcess): Promise<Response> {
  const email = `${server.pid}@example.com`
  await holdfastJson(settings, 'user', 'create', '--email', email, '--name', 'Ann Example')
  const { headers } = await createSession(settings, email)
  return fetch(`${server.address}/v1/me`, { headers })
}
