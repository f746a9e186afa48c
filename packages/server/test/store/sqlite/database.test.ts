import assert from 'node:assert/strict'
import fs from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync, StatementSync } from 'node:sqlite'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises'
import type { Database } from '../../../src/core/database.ts'
import { CoreError } from '../../../src/core/errors.ts'
import { migrate } from '../../../src/store/database/migrate.ts'
import { openCommandDatabase, openServerDatabase } from '../../../src/store/database/sqlite.ts'
import { stub, systemError } from '../../helpers/builtins.ts'
import { atEnd, testFolder } from '../../helpers/cleanup.ts'
import { sendOtherProcess } from '../../helpers/other-process.ts'
import { assertRefused } from '../../helpers/refusals.ts'
import { mountSmallDisk } from '../../helpers/small-disk.ts'

const MIB = 1024 * 1024

describe('a write of the server', () => {
  it('settles only after a sync of the log that started after its commit', async (t) => {
    const { database } = await openTemporaryDatabase(t)
    const syncs = holdSyncs(t)
    const settled: string[] = []
    const one = put(database, 'one').then(() => settled.push('one'))
    await until(() => syncs.started === 1)
    const two = put(database, 'two').then(() => settled.push('two'))
    await until(async () => (await keys(database)).includes('two'))
    assert.deepEqual(settled, [], 'committed and visible, but not on the disk')

    syncs.finish()
    await until(() => syncs.started === 2)
    await turns(20)
    assert.deepEqual(settled, ['one'], 'the first sync began before the second commit')

    syncs.finish()
    await Promise.all([one, two])
    assert.deepEqual(settled, ['one', 'two'])
  })

  it('that is refused waits all the same: its reason may be a commit that is not on the disk', async (t) => {
    const { database } = await openTemporaryDatabase(t)
    const syncs = holdSyncs(t)
    const first = put(database, 'one')
    await until(() => syncs.started === 1)
    let settled = false
    const refused = database
      .write(async () => {
        throw new CoreError('email_taken', 'there is one already')
      })
      .catch((error: unknown) => {
        settled = true
        return error
      })
    await turns(20)
    syncs.finish()
    await until(() => syncs.started === 2)
    await turns(20)
    assert.equal(settled, false)
    syncs.finish()
    assert.equal(((await refused) as CoreError).code, 'email_taken')
    await first
  })

  it('is kept, and sees those before it, also when another of the same moment is refused', async (t) => {
    const { database } = await openTemporaryDatabase(t)
    const seen: string[][] = []
    const writes = ['one', 'two', 'three'].map((key) =>
      database.write(async (writer) => {
        const rows = await writer.selectFrom('meta').select('key').orderBy('key').execute()
        await writer
          .insertInto('meta')
          .values({ key: `own ${key}`, value: '' })
          .execute()
        if (key === 'two') throw new CoreError('email_taken', 'there is one already')
        seen.push(rows.map((row) => row.key).filter((each) => each.startsWith('own')))
        return key
      }),
    )
    const outcomes = await Promise.allSettled(writes)
    assert.deepEqual(
      outcomes.map((outcome) =>
        outcome.status === 'fulfilled' ? outcome.value : outcome.reason.code,
      ),
      ['one', 'email_taken', 'three'],
    )
    assert.deepEqual(
      (await keys(database)).filter((key) => key.startsWith('own')),
      ['own one', 'own three'],
    )
    assert.deepEqual(seen, [[], ['own one']])
  })

  it('shares its transaction with those of the same moment', async (t) => {
    const { database } = await openTemporaryDatabase(t)
    const count = (await keys(database)).length
    const [one, other] = await Promise.all(
      ['one', 'other'].map((key) =>
        database.write(async (writer) => {
          await writer.insertInto('meta').values({ key, value: '' }).execute()
          return (await keys(database)).length
        }),
      ),
    )
    assert.deepEqual([one, other], [count, count], 'neither is visible before both are committed')
  })

  it('shares its sync with those that wait beside it', async (t) => {
    const { database } = await openTemporaryDatabase(t)
    let count = 0
    stub(t, fs, 'fdatasync', (real) =>
      callbackStub((descriptor, callback) => {
        count += 1
        setTimeout(() => real(descriptor, callback), 5)
      }),
    )
    const numbers = Array.from({ length: 64 }, (_, index) => `row ${index}`)
    await Promise.all(numbers.map((key) => put(database, key)))
    assert.ok(count >= 1 && count <= 8, `${count} syncs for 64 writes`)
    assert.deepEqual((await keys(database)).filter((key) => key.startsWith('row ')).length, 64)
  })

  it('undoes everything when its work throws', async (t) => {
    const { database } = await openTemporaryDatabase(t)
    const reason = new Error('no')
    await assert.rejects(
      database.write(async (writer) => {
        await writer.insertInto('meta').values({ key: 'half', value: '' }).execute()
        throw reason
      }),
      reason,
    )
    assert.ok(!(await keys(database)).includes('half'))
  })

  it('runs alone, in the order of the calls', async (t) => {
    const { database } = await openTemporaryDatabase(t)
    const steps: string[] = []
    await Promise.all(
      ['a', 'b', 'c'].map((name) =>
        database.write(async (writer) => {
          steps.push(`${name} begins`)
          await writer.selectFrom('meta').selectAll().execute()
          steps.push(`${name} ends`)
        }),
      ),
    )
    const expected = ['a', 'b', 'c'].flatMap((name) => [`${name} begins`, `${name} ends`])
    assert.deepEqual(steps, expected)
  })

  it('is the only way to write: the reading side takes no change', async (t) => {
    const { database } = await openTemporaryDatabase(t)
    await assert.rejects(
      database.read.insertInto('meta').values({ key: 'x', value: '' }).execute(),
      /readonly/,
    )
  })
})

describe('a sync of the log that fails', () => {
  it('is final: no write is acknowledged after it, even when later syncs succeed', async (t) => {
    const { database, failures } = await openTemporaryDatabase(t)
    await put(database, 'before')
    const broken = breakSyncs(t)
    await assertRefused(put(database, 'during'), 'storage_unavailable')
    assert.deepEqual(
      failures.map((error) => (error as NodeJS.ErrnoException).code),
      ['EIO'],
    )
    broken.restore()
    await assertRefused(put(database, 'after'), 'storage_unavailable')
    await assertRefused(
      database.write(async () => undefined),
      'storage_unavailable',
    )
    assert.ok((await keys(database)).includes('before'), 'reading goes on')
  })

  it('keeps later work from being done at all', async (t) => {
    const { database } = await openTemporaryDatabase(t)
    breakSyncs(t)
    await assertRefused(put(database, 'during'), 'storage_unavailable')
    let ran = false
    await assertRefused(
      database.write(async () => {
        ran = true
      }),
      'storage_unavailable',
    )
    assert.equal(ran, false)
  })

  it('is told to all that wait for it and to those that wait for the next', async (t) => {
    const { database } = await openTemporaryDatabase(t)
    const syncs = holdSyncs(t)
    const outcomes: Promise<unknown>[] = [put(database, 'one').catch(codeOf)]
    await until(() => syncs.started === 1)
    outcomes.push(put(database, 'two').catch(codeOf), put(database, 'three').catch(codeOf))
    await until(async () => (await keys(database)).includes('three'))
    syncs.finish(systemError('EIO'))
    await until(() => syncs.started === 2)
    syncs.finish()
    assert.deepEqual(await Promise.all(outcomes), Array(3).fill('storage_unavailable'))
  })
})

describe('the log', () => {
  it('stays the same file while a connection is open, whatever is written', async (t) => {
    const { database, file } = await openTemporaryDatabase(t)
    const { ino } = await stat(`${file}-wal`)
    for (let round = 0; round < 20; round += 1) await putLarge(database, round, MIB)
    await delay(300)
    await putLarge(database, 21, MIB)
    assert.equal((await stat(`${file}-wal`)).ino, ino)
  })

  it('stays small while much is written', async (t) => {
    const { database, file } = await openTemporaryDatabase(t)
    const total = process.env.SLOW === '1' ? 2000 : 200
    let largest = 0
    for (let written = 0; written < total; written += 4) {
      await Promise.all([0, 1, 2, 3].map((slot) => putLarge(database, slot, MIB)))
      largest = Math.max(largest, (await stat(`${file}-wal`)).size)
    }
    assert.ok(largest <= 64 * MIB, `${Math.round(largest / MIB)} MiB`)
    assert.equal((await largeRows(database)).length, 4)
  })

  it('is empty and gone after a clean end', async (t) => {
    const { database, file } = await openTemporaryDatabase(t)
    await put(database, 'one')
    await database.close()
    await assert.rejects(stat(`${file}-wal`), { code: 'ENOENT' })
  })
})

describe('beside another process', () => {
  it('loses nothing of either while both write', async (t) => {
    const { database, file } = await openTemporaryDatabase(t)
    const other = sendOtherProcess(t, { do: 'commit-rows', file, count: 100 })
    let done = false
    const otherDone = other.said('done').then(() => {
      done = true
    })
    let own = 0
    while (!done || own < 100) {
      await Promise.all([0, 1, 2, 3].map((slot) => put(database, `server ${own + slot}`)))
      own += 4
    }
    await otherDone
    const found = await keys(database)
    assert.equal(found.filter((key) => key.startsWith('command ')).length, 100)
    assert.equal(found.filter((key) => key.startsWith('server ')).length, own)
    const { quick_check } = new DatabaseSync(file).prepare('pragma quick_check').get() as {
      quick_check: string
    }
    assert.equal(quick_check, 'ok')
  })

  it('waits for its write lock without holding up anything else', async (t) => {
    const { database, file } = await openTemporaryDatabase(t)
    const other = sendOtherProcess(t, { do: 'hold-write-lock', file, milliseconds: 300 })
    await other.said('held')
    const lag = measureLag()
    const from = performance.now()
    await put(database, 'waited')
    const waited = performance.now() - from
    const longest = lag.stop()
    assert.ok(waited >= 150, `the lock was held, yet the write took ${waited} ms only`)
    assert.ok(longest < 50, `nothing else ran for ${longest} ms`)
    assert.ok((await keys(database)).includes('waited'))
  })

  it('can be opened while the other holds the write lock for a moment', async (t) => {
    const { database, file } = await openTemporaryDatabase(t)
    await database.close()
    const other = sendOtherProcess(t, { do: 'hold-write-lock', file, milliseconds: 300 })
    await other.said('held')
    const again = await open(t, file)
    assert.ok((await keys(again.database)).includes('started_at'))
  })

  it('sees at once what a command changed, and the command what it changed', async (t) => {
    const { database, file } = await openTemporaryDatabase(t)
    const command = await openCommandDatabase(file)
    await put(database, 'by the server')
    assert.ok((await keys(command)).includes('by the server'))
    await put(command, 'by the command')
    assert.ok((await keys(database)).includes('by the command'))
    await command.close()
  })
})

describe('a database on a disk that is full', () => {
  it('refuses writes, goes on reading, and takes writes again once there is room', async (t) => {
    const disk = await mountSmallDisk(t, 8)
    if (!disk) return
    const { database, failures } = await open(t, join(disk, 'holdfast.db'))
    await put(database, 'before')
    // In the log, and not yet in the database file, which cannot grow any more.
    for (let row = 0; row < 4; row += 1) await putLarge(database, row, MIB / 4)
    const ballast = join(disk, 'ballast')
    fill(ballast)
    const outcomes = new Set<unknown>()
    for (let row = 0; row < 30; row += 1) {
      outcomes.add(await putLarge(database, 4 + row, MIB / 4).then(() => 'taken', codeOf))
    }
    assert.ok(outcomes.has('storage_full'), [...outcomes].join())
    outcomes.delete('taken')
    assert.deepEqual([...outcomes], ['storage_full'])
    // Long enough for the log to be copied into the database file, for which there is no room either.
    await delay(1200)
    assert.deepEqual(failures, [])
    assert.ok((await keys(database)).includes('before'))
    assert.ok((await largeRows(database)).includes('large 3'))
    fs.rmSync(ballast)
    await put(database, 'after')
    assert.ok((await keys(database)).includes('after'))
  })
})

describe('a disk that fails under the database', () => {
  it('makes storage_unavailable of a write, which is undone, and not the end of all others', async (t) => {
    const { database } = await openTemporaryDatabase(t)
    const broken = stub(t, StatementSync.prototype, 'run', (real) => {
      return function run(this: StatementSync, ...parameters) {
        if (parameters.length === 0) return Reflect.apply(real, this, [])
        throw Object.assign(new Error('disk I/O error'), { errcode: 778 })
      } as StatementSync['run']
    })
    await assertRefused(put(database, 'during'), 'storage_unavailable')
    broken.restore()
    await put(database, 'after')
    const found = await keys(database)
    assert.deepEqual([found.includes('during'), found.includes('after')], [false, true])
  })
})

describe('an SQLite', () => {
  for (const version of ['3.51.2', '3.50.4', '3.7.0', '2.99.99']) {
    it(`of version ${version} is refused: it could corrupt the database`, async (t) => {
      const file = join(await testFolder(t), 'holdfast.db')
      pretendVersion(t, version)
      await assert.rejects(
        openServerDatabase(file, migrate, assert.ifError),
        new Error(`SQLite ${version} is too old: 3.51.3 or newer is needed`),
      )
      await assert.rejects(openCommandDatabase(file), /too old/)
    })
  }

  for (const version of ['3.51.3', '3.52.0', '4.0.0']) {
    it(`of version ${version} is good enough`, async (t) => {
      const file = join(await testFolder(t), 'holdfast.db')
      pretendVersion(t, version)
      const { database } = await open(t, file)
      await put(database, 'one')
    })
  }
})

async function openTemporaryDatabase(t: TestContext) {
  return open(t, join(await testFolder(t), 'holdfast.db'))
}

async function open(t: TestContext, file: string) {
  const failures: Error[] = []
  const database = await openServerDatabase(file, migrate, (error) => failures.push(error))
  let closed: Promise<void> | undefined
  const close = () => {
    closed ??= database.close()
    return closed
  }
  atEnd(t, close)
  return { database: { ...database, close }, file, failures }
}

async function put(database: Database, key: string): Promise<void> {
  const row = { key, value: '' }
  await database.write((writer) => writer.insertInto('meta').values(row).execute())
}

let largeRowsPut = 0

/** Puts so many bytes into the row of a number, in the place of what was there. */
async function putLarge(database: Database, number: number, bytes: number): Promise<void> {
  // SQLite does not write again what stands there already.
  largeRowsPut += 1
  const value = String(largeRowsPut)
    .padStart(16)
    .repeat(bytes / 16)
  await database.write((writer) =>
    writer
      .insertInto('meta')
      .values({ key: `large ${number}`, value })
      .onConflict((conflict) => conflict.column('key').doUpdateSet({ value }))
      .execute(),
  )
}

async function keys(database: Database): Promise<string[]> {
  const rows = await database.read.selectFrom('meta').select('key').execute()
  return rows.map((row) => row.key)
}

async function largeRows(database: Database): Promise<string[]> {
  return (await keys(database)).filter((key) => key.startsWith('large '))
}

function codeOf(error: unknown): unknown {
  return error instanceof CoreError ? error.code : error
}

type Sync = (descriptor: number, callback: (error: NodeJS.ErrnoException | null) => void) => void

function callbackStub(sync: Sync): typeof fs.fdatasync {
  return sync as typeof fs.fdatasync
}

/** Lets no sync of the log end before it is told to. */
function holdSyncs(t: TestContext): { readonly started: number; finish(error?: Error): void } {
  let started = 0
  const running: ((error?: Error) => void)[] = []
  stub(t, fs, 'fdatasync', (real) =>
    callbackStub((descriptor, callback) => {
      started += 1
      running.push((error) => (error ? callback(error) : real(descriptor, callback)))
    }),
  )
  return {
    get started() {
      return started
    },
    finish(error) {
      running.shift()?.(error)
    },
  }
}

function breakSyncs(t: TestContext): { restore(): void } {
  return stub(t, fs, 'fdatasync', () =>
    callbackStub((_, callback) => setImmediate(callback, systemError('EIO'))),
  )
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('it did not come to that')
    await turn()
  }
}

async function turns(count: number): Promise<void> {
  for (let at = 0; at < count; at += 1) await turn()
}

/** Finds out for how long at most the event loop stood still. */
function measureLag(): { stop(): number } {
  let last = performance.now()
  let longest = 0
  const timer = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last - 5)
    last = now
  }, 5)
  return {
    stop() {
      clearInterval(timer)
      return Math.max(longest, performance.now() - last - 5)
    },
  }
}

/** Takes what is left of a disk. */
function fill(file: string): void {
  const descriptor = fs.openSync(file, 'w')
  try {
    for (;;) fs.writeSync(descriptor, Buffer.alloc(64 * 1024))
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
  } finally {
    fs.closeSync(descriptor)
  }
}

function pretendVersion(t: TestContext, version: string): void {
  const real = DatabaseSync.prototype.prepare
  t.mock.method(
    DatabaseSync.prototype,
    'prepare',
    function prepare(this: DatabaseSync, sql: string) {
      return real.call(this, sql.replace('sqlite_version()', `'${version}'`))
    },
  )
}
