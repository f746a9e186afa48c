import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { sql } from 'kysely'
import { type Config, loadConfig } from '../packages/server/src/config.ts'
import { openForCommand, openForServer } from '../packages/server/src/open.ts'
import { DatabaseError } from '../packages/server/src/store/database/database-error.ts'
import { openCommandPostgres } from '../packages/server/src/store/database/postgres.ts'
import { lockPostgres } from '../packages/server/src/store/database/postgres-lock.ts'
import { FolderError } from '../packages/server/src/store/folder.ts'
import {
  api,
  createOwner,
  fileForm,
  foundNames,
  list,
  type Owner,
  stored,
  uploaded,
} from '../packages/server/test/helpers/account.ts'
import { createKeeper, keep, LIMIT, link } from '../packages/server/test/helpers/blobs.ts'
import { inPieces, pattern } from '../packages/server/test/helpers/bytes.ts'
import { atEnd } from '../packages/server/test/helpers/cleanup.ts'
import { eventually } from '../packages/server/test/helpers/http.ts'
import { databaseSettings, databaseUrl, query } from '../packages/server/test/helpers/postgres.ts'
import { assertRefused } from '../packages/server/test/helpers/refusals.ts'
import { startTestServer, type TestServer } from '../packages/server/test/helpers/server.ts'
import { mountSmallDisk } from '../packages/server/test/helpers/small-disk.ts'
import {
  filesBelow,
  openStoreOf,
  openTestStore,
  rowsOf,
  tamper,
  temporaryConfig,
} from '../packages/server/test/helpers/store.ts'
import { startPostgres } from './postgres.ts'

const postgres = await startPostgres()
const skip = typeof postgres === 'string' && postgres

describe('a store on PostgreSQL', { skip }, () => {
  it('is refused where fsync is off, unless that is asked for', async (t) => {
    const config = await temporaryConfig(t)
    const careful = withPostgres(config, { unsafe: false })
    await assert.rejects(openServer(careful), (error) => isRefusal(error, /fsync = off/))
    await (await openServer(config)).close()
    await assert.rejects(openForCommand(careful, Date.now), (error) => isRefusal(error, /fsync/))
  })

  it('is refused where it cannot be reached, without a password in the message', async (t) => {
    const config = await temporaryConfig(t)
    const url = 'postgres://ann:opensesame@127.0.0.1:1/holdfast'
    const nowhere = withPostgres(config, { url })
    await assert.rejects(openServer(nowhere), (error) => isRefusal(error, /ECONNREFUSED/))
    const missing = withPostgres(config, {
      url: databaseUrl('nothing').replace('@', ':opensesame@'),
    })
    await assert.rejects(openServer(missing), (error) => isRefusal(error, /"nothing"/))
  })

  it('belongs to one data folder: another one is refused, and no key is made for it', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(config)).close()
    const other = await temporaryConfig(t)
    const crossed = { ...other, postgres: config.postgres }
    await assert.rejects(openServer(crossed), FolderError)
    assert.deepEqual(await filesBelow(other.data), ['server.lock'])
    await (await openServer(other)).close()
    await assert.rejects(
      openServer(crossed),
      new FolderError('the database and the volume marker belong to different stores'),
    )
  })

  it('is refused without its rows when there are blobs', async (t) => {
    const store = await openTestStore(t)
    await keep(store, await createKeeper(store), pattern(100_000))
    await store.close()
    const empty = { ...store.config, postgres: (await temporaryConfig(t)).postgres }
    await assert.rejects(openServer(empty), FolderError)
  })

  it('has text that is ordered by bytes, and integers of 64 bits', async (t) => {
    const { config } = await openTestStore(t)
    const columns = await rowsOf(
      config,
      `select distinct data_type as type, collation_name as collation
        from information_schema.columns
        where table_schema = 'public' and table_name not like 'kysely%' order by 1`,
    )
    assert.deepEqual(columns, [
      { type: 'ARRAY', collation: null },
      { type: 'bigint', collation: null },
      { type: 'bytea', collation: null },
      { type: 'text', collation: 'C' },
    ])
  })

  it('commits durably, whatever the settings of the database are', async (t) => {
    const { config, close } = await openTestStore(t)
    await close()
    const [{ name } = { name: '' }] = await rowsOf<{ name: string }>(
      config,
      'select current_database() as name',
    )
    await tamper(config, `alter database ${name} set synchronous_commit = off`)
    const database = await openCommandPostgres(config.postgres ?? assert.fail())
    atEnd(t, () => database.close())
    const setting = sql<{ value: string }>`select current_setting('synchronous_commit') as value`
    assert.equal((await setting.execute(database.read)).rows[0]?.value, 'on')
    const inside = await database.write(async (writer) => (await setting.execute(writer)).rows[0])
    assert.equal(inside?.value, 'on')
  })
})

describe('a connection on which nothing is said', { skip }, () => {
  it('is kept in the memory of what lies between', async (t) => {
    const { postgres: access = assert.fail() } = loadConfig(await databaseSettings(t))
    const lock = (await lockPostgres(access, 'keys', { waitMs: 1 })) ?? assert.fail()
    atEnd(t, lock.release)
    const database = await openCommandPostgres(access)
    atEnd(t, () => database.close())
    const timers = await timersOf(Number(new URL(access.url).port))
    assert.equal(timers.length, 2)
    for (const { kind, seconds } of timers) {
      assert.equal(kind, 'keepalive')
      assert.ok(seconds <= 10, `${seconds} s`)
    }
  })
})

describe('a connection that is lost', { skip }, () => {
  it('within a transaction is no answer, and the bytes stay for the sweep to decide', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const staged = await store.core.blobs.stage(inPieces(pattern(100_000)), LIMIT)
    const lost = store.core.blobs.keep(staged, async (writer) => {
      await link(writer, keeper, staged.id)
      await sql`select pg_terminate_backend(pg_backend_pid())`.execute(writer)
    })
    await assertRefused(lost, 'storage_unavailable')
    assert.equal((await filesBelow(`${store.config.data}/blobs`)).length, 1)
    await keep(store, keeper, pattern(100_000))
  })

  it('while a statement is cancelled is storage_unavailable, and the next one works', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const held = store.core.blobs.unlinking(async (writer) => {
      await sql`select set_config('statement_timeout', '50', true)`.execute(writer)
      await sql`select pg_sleep(10)`.execute(writer)
    })
    await assertRefused(held, 'storage_unavailable')
    await keep(store, keeper, pattern(10))
  })

  it('without a word keeps nobody from releasing a lock', async (t) => {
    const { postgres: access = assert.fail() } = loadConfig(await databaseSettings(t))
    const { port, silence } = await startSilencer(t, access.url)
    const url = new URL(access.url)
    url.port = String(port)
    const lock = await lockPostgres({ ...access, url: url.href }, 'keys', { waitMs: 1 })
    assert.ok(lock)
    silence()
    await lock.release()
  })

  it('with the whole server gives clean errors, and none once it is back', async (t) => {
    if (typeof postgres === 'string') return
    const server = await startTestServer(t, { HOLDFAST_API_RATE_LIMIT: '0' })
    const who = await createOwner(server)
    const traffic = beginTraffic(server, who)
    await delay(300)
    postgres.stop()
    await eventually(async () => (await ready(server)) === 503)
    await delay(300)
    postgres.start()
    await eventually(async () => (await ready(server)) === 200)
    await delay(300)
    const { statuses, acknowledged } = await traffic.end()
    assert.deepEqual([...statuses].sort(), [201, 503])
    const names = new Set((await list(server, who)).map((file) => file.full_filename))
    assert.deepEqual(
      acknowledged.filter((name) => !names.has(name)),
      [],
      'what was acknowledged is there',
    )
    await uploaded(server, who)
  })
})

describe('a full disk of PostgreSQL', { skip }, () => {
  it('is storage_full: nothing is lost, reading goes on, and with room writing does', async (t) => {
    const disk = await mountSmallDisk(t, 24)
    if (disk === undefined) return
    execFileSync('chown', ['postgres', disk])
    const admin = { url: databaseUrl('postgres'), unsafe: true }
    await query(admin, `create tablespace small location '${disk}'`)
    atEnd(t, async () => void (await query(admin, 'drop tablespace small')))
    const config = await temporaryConfig(t)
    const name = new URL(config.postgres?.url ?? '').pathname.slice(1)
    await query(admin, `alter database ${name} set tablespace small`)

    const store = await openStoreOf(t, config)
    const who = await createOwner(store)
    const names: string[] = []
    const fill = async () => {
      for (;;) {
        const file = `${names.length}.bin`
        await stored(store, who, file, pattern(60_000))
        names.push(file)
      }
    }
    await assertRefused(fill, 'storage_full')
    assert.ok(names.length > 10)
    assert.deepEqual((await foundNames(store, who, '')).reverse(), names)
    execFileSync('mount', ['-o', 'remount,size=64m', disk])
    await stored(store, who, 'more.bin', pattern(60_000))
    assert.deepEqual((await foundNames(store, who, '')).reverse(), [...names, 'more.bin'])
  })
})

/** Uploads from four clients, until it is told to end. */
function beginTraffic(server: TestServer, who: Owner) {
  const statuses = new Set<number>()
  const acknowledged: string[] = []
  let count = 0
  let isEnding = false
  const clients = Array.from({ length: 4 }, async () => {
    while (!isEnding) {
      count += 1
      const name = `${count}.txt`
      const { status } = await api(server, who, 'POST', '/files', { body: fileForm('x', name) })
      statuses.add(status)
      if (status === 201) acknowledged.push(name)
      else await delay(20)
    }
  })
  return {
    async end() {
      isEnding = true
      await Promise.all(clients)
      return { statuses, acknowledged }
    },
  }
}

async function ready(server: TestServer): Promise<number> {
  return (await fetch(`${server.address}/health/ready`)).status
}

function withPostgres(config: Config, change: Partial<NonNullable<Config['postgres']>>): Config {
  return { ...config, postgres: { ...(config.postgres ?? assert.fail()), ...change } }
}

function openServer(config: Config) {
  return openForServer(config, Date.now, assert.ifError)
}

function isRefusal(error: unknown, reason: RegExp): boolean {
  assert.ok(error instanceof DatabaseError, `${error}`)
  assert.match(error.message, reason)
  assert.doesNotMatch(JSON.stringify(error) + error.stack, /opensesame/)
  return true
}

/** A way to a server that is there, on which nothing comes through any more once it is silenced. */
async function startSilencer(
  t: TestContext,
  address: string,
): Promise<{ port: number; silence(): void }> {
  const { hostname, port } = new URL(address)
  const sockets: Socket[] = []
  const silencer = createServer({ allowHalfOpen: true }, (client) => {
    const server = connect(Number(port), hostname)
    sockets.push(client, server)
    client.pipe(server).pipe(client)
  }).listen(0, hostname)
  await once(silencer, 'listening')
  atEnd(t, () => {
    for (const socket of sockets) socket.destroy()
    silencer.close()
  })
  return {
    port: (silencer.address() as AddressInfo).port,
    silence() {
      for (const socket of sockets) socket.unpipe().pause()
    },
  }
}

/** What the kernel will do next on connections of this machine to a port, and when at the latest. */
async function timersOf(port: number): Promise<{ kind: string; seconds: number }[]> {
  const lines = (await readFile('/proc/self/net/tcp', 'utf8')).split('\n').slice(1, -1)
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([, , remote = '', state]) => Number(`0x${remote.slice(-4)}`) === port && state === '01',
    )
    .map(([, , , , , timer = '']) => {
      const [kind, ticks] = timer.split(':')
      return {
        kind: kind === '02' ? 'keepalive' : `timer ${kind}`,
        seconds: Number(`0x${ticks}`) / 100,
      }
    })
}
