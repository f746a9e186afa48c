import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { appendFile, cp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { refusedStart } from '../../e2e/processes.ts'
import { testFolder } from '../../packages/server/test/helpers/cleanup.ts'
import { mountSmallDisk } from '../../packages/server/test/helpers/small-disk.ts'
import { filesBelow } from '../../packages/server/test/helpers/store.ts'
import { KINDS, LARGE, type Stored, store } from '../operations.ts'
import { copyData, type PlaceHere, settingsOf, startArmed, startPlaceHere } from '../place.ts'
import type { Row, RowScope } from '../row.ts'

/** What is wrong with a folder or its key before a start. */
interface Trouble {
  readonly name: string
  /** What the refusal says. */
  readonly says: RegExp
  /** @param other the folder of another store */
  make(data: string, other: string): Promise<unknown>
}

const DATABASE = ['holdfast.db', 'holdfast.db-wal', 'holdfast.db-shm']

const TROUBLES: readonly Trouble[] = [
  {
    name: 'the volume marker is missing',
    says: /has no volume marker .* Is the right volume mounted\?/,
    make: (data) => rm(join(data, 'holdfast-volume.json')),
  },
  {
    name: 'the volume marker is damaged',
    says: /holdfast-volume\.json is damaged/,
    make: (data) => writeFile(join(data, 'holdfast-volume.json'), '{"format":1'),
  },
  {
    name: 'the volume marker is of another store',
    says: /wrong root key: this is age1\w+, this store needs the one of age1\w+/,
    make: (data, other) =>
      cp(join(other, 'holdfast-volume.json'), join(data, 'holdfast-volume.json')),
  },
  {
    name: 'the root key is missing',
    says: /the root key .* is missing; this store needs the one of age1\w+/,
    make: (data) => rm(`${data}.key`),
  },
  {
    name: 'the root key is of another store',
    says: /wrong root key: this is age1\w+, this store needs the one of age1\w+/,
    make: (data, other) => cp(`${other}.key`, `${data}.key`),
  },
  {
    name: 'the root key is damaged',
    says: /holds no age identity/,
    make: (data) => writeFile(`${data}.key`, 'AGE-SECRET-KEY-1'),
  },
  {
    name: 'the database is missing',
    says: /there are blobs but no database/,
    make: (data) => Promise.all(DATABASE.map((name) => rm(join(data, name), { force: true }))),
  },
  {
    name: 'the keyring is missing',
    says: /the keyring is missing/,
    make: (data) => rename(join(data, 'keyring'), `${data}.keyring`),
  },
  {
    name: 'an entry of the keyring is damaged',
    says: /1\.age is missing or damaged/,
    make: (data) => appendFile(join(data, 'keyring/1.age'), 'x'),
  },
]

/** Starts that have to be refused, and leave everything as it is. */
export const volume: readonly Row[] = [
  ...TROUBLES.map((trouble) => ({
    step: 'start',
    fault: trouble.name,
    run: (t: RowScope) => refuse(t, trouble),
  })),
  { step: 'start', fault: 'another server has the folder', run: twoServers },
  { step: 'start', fault: 'the folder is read-only', run: readOnly },
]

async function refuse(t: RowScope, { make, says }: Trouble): Promise<number> {
  const { place, file } = await furnished(t)
  const other = await anotherStore(t)
  const whole = join(await testFolder(t), 'whole')
  await copyData(place.data, whole)

  await make(place.data, other)
  const before = await contents(place.data)
  const { code, stderr } = await refusedStart(settingsOf(place.data))
  assert.equal(code, 2, stderr)
  assert.match(stderr, says)
  assert.ok(!stderr.includes('AGE-SECRET-KEY'))
  assert.deepEqual(await contents(place.data), before, 'everything is as it was')

  // Once it is mended, everything is there.
  await rm(place.data, { recursive: true })
  await copyData(whole, place.data)
  const server = await startArmed(t, settingsOf(place.data), {})
  await file.check({ ...place, server })
  await server.stop()
  return 1
}

async function furnished(t: RowScope): Promise<{ place: PlaceHere; file: Stored }> {
  const place = await startPlaceHere(t)
  const [kind] = KINDS
  assert.ok(kind)
  const file = await store(place, kind, LARGE)
  await place.server.close()
  return { place, file }
}

/** @returns the folder of a store with a key of its own */
async function anotherStore(t: RowScope): Promise<string> {
  const data = join(await testFolder(t), 'data')
  const server = await startArmed(t, settingsOf(data), {})
  await server.stop()
  return data
}

/** All that a start must not touch. The files of locks are nobody's. */
async function contents(data: string): Promise<[string, string][]> {
  const names = (await filesBelow(data)).filter((name) => !name.includes('.lock'))
  return Promise.all(
    names.map(
      async (name) =>
        [name, (await readFile(join(data, name))).toString('base64')] as [string, string],
    ),
  )
}

async function twoServers(t: RowScope): Promise<number> {
  const { place, file } = await furnished(t)
  const settings = settingsOf(place.data)
  const first = await startArmed(t, settings, {})
  const { code, stderr } = await refusedStart(settings)
  assert.equal(code, 2)
  assert.match(stderr, /another Holdfast server holds/)
  await file.check({ ...place, server: first })
  // However the first one ends, the folder is free then.
  await first.kill()
  const next = await startArmed(t, settings, {})
  await file.check({ ...place, server: next })
  await next.stop()
  return 1
}

async function readOnly(t: RowScope): Promise<number> {
  const disk = await mountSmallDisk(t, 16)
  if (!disk) return 0
  const { place, file } = await furnished(t)
  const data = join(disk, 'data')
  await copyData(place.data, data)
  execFileSync('mount', ['-o', 'remount,ro', disk])
  const { code, stderr } = await refusedStart(settingsOf(data))
  assert.equal(code, 2, stderr)
  assert.match(stderr, /cannot be written/)
  execFileSync('mount', ['-o', 'remount,rw', disk])
  const server = await startArmed(t, settingsOf(data), {})
  await file.check({ ...place, server })
  await server.stop()
  return 1
}
