/** `holdfast migrate` with a real PostgreSQL and a real Ceph. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import {
  COMMAND,
  type Ended,
  holdfast,
  holdfastJson,
  oneObject,
  refusedStart,
  run,
  type Settings,
} from '../e2e/processes.ts'
import { ARM } from '../faults/place.ts'
import type { Failpoint } from '../packages/server/src/core/failpoints.ts'
import {
  api,
  fileForm,
  type Owner,
  type PageJson,
} from '../packages/server/test/helpers/account.ts'
import { assertSameBytes, pattern } from '../packages/server/test/helpers/bytes.ts'
import { testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { bearer, client, filesPath, resourceOf } from '../packages/server/test/helpers/companies.ts'
import { atOnce } from '../packages/server/test/helpers/epochs.ts'
import { jpeg } from '../packages/server/test/helpers/pictures.ts'
import { query } from '../packages/server/test/helpers/postgres.ts'
import { startTestServer, type TestServer } from '../packages/server/test/helpers/server.ts'
import { rowsOf, tamper } from '../packages/server/test/helpers/store.ts'
import { flipByte } from '../packages/server/test/helpers/stored.ts'
import { receive, startTenants, type Tenant } from '../packages/server/test/helpers/tenants.ts'
import { type Ceph, startCeph } from './ceph.ts'
import { type Postgres, startPostgres } from './postgres.ts'

/** Several parts of an upload to a bucket. */
const LARGE = 12 * 1024 * 1024
const PLAIN = { HOLDFAST_API_RATE_LIMIT: '0' }

const postgres = await startPostgres()
// Stores begin on SQLite here.
delete process.env.HOLDFAST_TEST_DATABASE_URL
const ceph = await startCeph()

if (typeof postgres === 'string') describe('holdfast migrate', { skip: postgres }, () => undefined)
else if (typeof ceph === 'string') describe('holdfast migrate', { skip: ceph }, () => undefined)
else describe('holdfast migrate', () => moves(postgres, ceph))

function moves({ url }: Postgres, ceph: Ceph): void {
  it('brings a store to PostgreSQL and a bucket, and back, and all of it is as it was', async (t) => {
    const scene = await furnish(t)
    const there = { ...(await newDatabase(url)), ...ceph.settings(ceph.place()) }
    const report = await holdfastJson<Report>({ ...scene.settings, ...to(there) }, 'migrate')
    assert.deepEqual(
      { ...report, seconds: 0 },
      {
        ...{ moved: true, clean: true, total: 0, counts: {}, findings: [], resumed: false },
        ...{ rows: report.rows, objects: scene.objects, bytes: report.bytes },
        copied: { objects: scene.objects, bytes: report.bytes },
        seconds: 0,
      },
    )
    assert.ok(report.rows > 50)
    assert.ok(report.bytes > LARGE)

    const refused = await refusedStart(scene.settings)
    assert.equal(refused.code, 2)
    assert.match(refused.stderr, /^holdfast: this store was moved to PostgreSQL at .* and s3:\/\//)
    const again = await holdfast({ ...scene.settings, ...to(there) }, 'migrate')
    assert.deepEqual([again.code, again.stderr], [2, refused.stderr])

    const moved = { ...scene.settings, ...there }
    assert.equal((await holdfast(moved, 'fsck')).code, 0)
    await assertScene(t, scene, moved)
    await assertNumbersGoOn(t, scene, moved)

    const back = { HOLDFAST_DATA: join(await testFolder(t), 'data') }
    const returned = await holdfastJson<Report>({ ...moved, ...to(back) }, 'migrate')
    assert.equal(returned.moved, true)
    const home = {
      ...PLAIN,
      ...back,
      HOLDFAST_ROOT_KEY_FILE: scene.settings.HOLDFAST_ROOT_KEY_FILE,
    }
    assert.equal((await holdfast(home, 'fsck')).code, 0)
    await assertScene(t, scene, home)
    assert.match(
      (await refusedStart(moved)).stderr,
      /^holdfast: this store was moved to SQLite in /,
    )
  })

  it('moves only rows, then only objects, then from one bucket to another', async (t) => {
    const scene = await furnish(t)
    const rows = await newDatabase(url)
    const first = await holdfastJson<Report>({ ...scene.settings, ...to(rows) }, 'migrate')
    assert.deepEqual([first.moved, first.objects], [true, 0])
    const between = { ...scene.settings, ...rows }
    await assertScene(t, scene, between)
    assert.match((await refusedStart(scene.settings)).stderr, /was moved to PostgreSQL at/)

    const objects = ceph.settings(ceph.place())
    const second = await holdfastJson<Report>({ ...between, ...to(objects) }, 'migrate')
    assert.deepEqual([second.moved, second.rows, second.objects], [true, 0, scene.objects])
    const shared = { ...between, ...objects }
    await assertScene(t, scene, shared)
    assert.match((await refusedStart(between)).stderr, /was moved to s3:/)

    const elsewhere = ceph.settings(ceph.place())
    const third = await holdfastJson<Report>({ ...shared, ...to(elsewhere) }, 'migrate')
    assert.deepEqual([third.moved, third.rows, third.objects], [true, 0, scene.objects])
    await assertScene(t, scene, { ...between, ...elsewhere })
    assert.match((await refusedStart(shared)).stderr, /was moved to s3:/)
  })

  it('moves the rows of a store whose objects are in a bucket already', async (t) => {
    const scene = await furnish(t)
    const objects = ceph.settings(ceph.place())
    const first = await holdfastJson<Report>({ ...scene.settings, ...to(objects) }, 'migrate')
    assert.deepEqual([first.moved, first.rows, first.objects], [true, 0, scene.objects])
    const between = { ...scene.settings, ...objects }
    await assertScene(t, scene, between)
    const rows = await newDatabase(url)
    const second = await holdfastJson<Report>({ ...between, ...to(rows) }, 'migrate')
    assert.deepEqual([second.moved, second.objects], [true, 0])
    await assertScene(t, scene, { ...between, ...rows })
    assert.match((await refusedStart(between)).stderr, /was moved to PostgreSQL at/)
  })

  it('goes on after kills at every step, also when the store was used in between', async (t) => {
    const scene = await furnish(t)
    const there = { ...(await newDatabase(url)), ...ceph.settings(ceph.place()) }
    const moving = { ...scene.settings, ...to(there) }
    const moved = { ...scene.settings, ...there }
    const before: [Failpoint, number][] = [
      ['move.rows', 2],
      ['move.rows', 9],
      ['move.copied', 1],
      ['move.copied', 3],
      ['move.kept', 1],
      ['move.retiring', 1],
    ]
    for (const [index, [step, hit]] of before.entries()) {
      assert.equal((await killedAt(moving, step, hit)).code, null, step)
      assert.equal((await refusedStart(moved)).code, 2, `${step}: the new place is not served`)
      // What is stored, overwritten and deleted meanwhile has to arrive too.
      if (index % 2 === 1) await changeScene(t, scene)
    }
    for (const step of ['move.retired', 'move.noted', 'move.marked'] as const) {
      assert.equal((await killedAt(moving, step, 1)).code, null, step)
      assert.equal((await refusedStart(moved)).code, 2, `${step}: the new place is not served`)
      assert.equal((await refusedStart(scene.settings)).code, 2, `${step}: nor is the old one`)
    }
    const report = await holdfastJson<Report>(moving, 'migrate')
    assert.deepEqual([report.moved, report.resumed], [true, true])
    assert.equal((await holdfast(moved, 'fsck')).code, 0)
    await assertScene(t, scene, moved)
  })

  it('tells a damaged object, leaves the store where it is, and goes on when it was mended', async (t) => {
    const scene = await furnish(t)
    const there = { ...(await newDatabase(url)), ...ceph.settings(ceph.place()) }
    const moving = { ...scene.settings, ...to(there) }
    const object = await largestObject(scene)
    const path = join(scene.settings.HOLDFAST_DATA, object)
    const good = join(await testFolder(t), 'good')
    await copyFile(path, good)
    await flipByte(path, LARGE / 2)

    for (const _ of ['first', 'again']) {
      const { code, stdout } = await holdfast(moving, 'migrate', '--json')
      assert.equal(code, 1)
      const { moved, clean, counts, findings } = oneObject<Report>(stdout)
      assert.deepEqual([moved, clean, counts], [false, false, { mismatched: 1 }])
      assert.deepEqual(
        findings.map((finding) => finding.object),
        [object],
      )
    }
    assert.equal((await refusedStart({ ...scene.settings, ...there })).code, 2)
    assert.equal((await holdfast(scene.settings, 'fsck')).code, 0, 'the store is where it was')

    await copyFile(good, path)
    const report = await holdfastJson<Report>(moving, 'migrate')
    assert.deepEqual([report.moved, report.resumed, report.clean], [true, true, true])
    assert.deepEqual(report.copied.objects, 1, 'nothing else is sent again')
    await assertScene(t, scene, { ...scene.settings, ...there })
  })

  it('refuses a place that is in use, and changes nothing there', async (t) => {
    const [scene, other] = [await furnish(t), await furnish(t)]
    const there = { ...(await newDatabase(url)), ...ceph.settings(ceph.place()) }
    await holdfastJson({ ...other.settings, ...to(there) }, 'migrate')
    for (const part of [/DATABASE/, /BLOBS|AWS/]) {
      const some = Object.entries(there).filter(([name]) => part.test(name))
      const { code, stderr } = await holdfast(
        { ...scene.settings, ...to(Object.fromEntries(some)) },
        'migrate',
      )
      assert.equal(code, 2)
      assert.match(stderr, /is in use: a store can only be moved to an empty place/)
      assert.doesNotMatch(stderr, /testsecret/)
    }
    await assertScene(t, other, { ...other.settings, ...there })
    await assertScene(t, scene, scene.settings)
  })
}

interface Report {
  readonly moved: boolean
  readonly clean: boolean
  readonly resumed: boolean
  readonly counts: object
  readonly findings: readonly { object?: string }[]
  readonly rows: number
  readonly objects: number
  readonly bytes: number
  readonly copied: { readonly objects: number; readonly bytes: number }
}

/** Something that is asked for, and its answer. */
interface Expected {
  readonly name: string
  readonly path: string
  readonly headers: Record<string, string>
  bytes: Buffer
}

/** A store that no server serves, and what clients get from it. */
interface Scene {
  readonly settings: Settings & { HOLDFAST_DATA: string; HOLDFAST_ROOT_KEY_FILE: string }
  readonly ann: Tenant
  readonly expected: Expected[]
  objects: number
}

/** Every kind of file in all dialects, previews, three epochs. */
async function furnish(t: TestContext): Promise<Scene> {
  const { server: first, ann, bob } = await startTenants(t)
  await first.close()
  // Several servers go by the clock of their database, which is that of the machine.
  const never = Number.MAX_SAFE_INTEGER
  for (const table of ['session', 'pin_key', 'company_upload']) {
    await tamper(first.config, `update ${table} set expires_at = ?`, never)
  }
  const { data, rootKeyFile } = first.config
  const settings = { ...PLAIN, HOLDFAST_DATA: data, HOLDFAST_ROOT_KEY_FILE: rootKeyFile }
  const scene: Scene = { settings, ann, expected: [], objects: 0 }
  const server = await startTestServer(t, { ...settings, HOLDFAST_PREVIEW_MAX_MB: '1' })
  await server.core.epochs.begin(atOnce)
  const member = client(server, { id: ann.companyId }, ann.actor)
  const picture = { filename: 'photo.jpg', thumbnail_sync: 1 }
  const { id } = resourceOf(await member.upload(await jpeg(1200, 900), picture))
  await server.core.epochs.begin(atOnce)
  await keepAnother(server, ann, pattern(LARGE, 7), 'film of the harbour.mkv')
  const headers = bearer(ann.actor)
  const asked = [
    ...[ann, bob].flatMap(({ files, texts }) => [
      ...files.map((file) => ({ ...file, name: file.name })),
      // That tells when a token was last used.
      ...texts
        .filter(({ path }) => path !== '/v1/tokens')
        .map((text) => ({ ...text, name: text.path })),
    ]),
    ...['/thumbnails/0', '/download'].map((rest) => ({
      name: `picture${rest}`,
      path: filesPath({ id: ann.companyId }, id, rest),
      headers,
    })),
    ...['harbour', 'invoice', 'voice 10'].map((keyword) => ({
      name: `keyword ${keyword}`,
      path: `/api/files?keyword=${keyword}`,
      headers,
    })),
  ]
  for (const { name, path, headers } of asked) {
    scene.expected.push({ name, path, headers, bytes: Buffer.alloc(0) })
  }
  await look(server, scene)
  await server.close()
  return scene
}

function ownerOf({ actor }: Tenant): Owner {
  return { ...actor, email: '', headers: { authorization: `Bearer ${actor.token}` } }
}

async function keepAnother(
  server: TestServer,
  ann: Tenant,
  bytes: Uint8Array,
  name: string,
): Promise<void> {
  const owner = ownerOf(ann)
  const answer = await api(server, owner, 'POST', '/files', { body: fileForm(bytes, name) })
  assert.equal(answer.status, 201)
}

/** Takes what clients get now for what they are to get from now on. */
async function look(server: TestServer, scene: Scene): Promise<void> {
  for (const each of scene.expected) {
    const { status, whole, bytes } = await receive(server, each)
    assert.deepEqual([status, whole], [200, true], each.name)
    each.bytes = bytes
  }
  const rows = await rowsOf<{ count: number }>(
    server.config,
    'select count(*) as count from blob_part',
  )
  scene.objects = rows[0]?.count ?? 0
}

/** Uses the store where it was: stores, overwrites, deletes. */
async function changeScene(t: TestContext, scene: Scene): Promise<void> {
  const server = await startTestServer(t, scene.settings)
  const { ann } = scene
  await keepAnother(server, ann, randomBytes(200_000), `harbour ${randomBytes(4).toString('hex')}`)
  const member = client(server, { id: ann.companyId }, ann.actor)
  const gone = resourceOf(await member.upload(randomBytes(90_000), { filename: 'gone.txt' }))
  await member.remove(gone.id)
  await look(server, scene)
  await server.close()
}

async function assertScene(t: TestContext, scene: Scene, settings: Settings): Promise<void> {
  const server = await startTestServer(t, settings)
  for (const { name, bytes, ...request } of scene.expected) {
    const answer = await receive(server, request)
    assert.equal(answer.status, 200, `${name}: ${answer.bytes}`)
    assertSameBytes(answer.bytes, bytes)
  }
  const { findings, total } = await server.core.checks.scrub.run({ rate: 0, most: 10 })
  assert.equal(total, 0, JSON.stringify(findings))
  await server.close()
}

/** What is stored now comes after what was stored before, and is found. */
async function assertNumbersGoOn(t: TestContext, scene: Scene, settings: Settings): Promise<void> {
  const server = await startTestServer(t, settings)
  await keepAnother(server, scene.ann, pattern(1000), 'the newest.txt')
  const owner = ownerOf(scene.ann)
  const { body } = await api(server, owner, 'GET', '/files?page=1')
  assert.equal((body as PageJson).data[0]?.full_filename, 'the newest.txt')
  await look(server, scene)
  await server.close()
}

async function largestObject({ settings }: Scene): Promise<string> {
  const server = { data: settings.HOLDFAST_DATA, postgres: undefined }
  const rows = await rowsOf<{ object: string }>(
    server as Parameters<typeof rowsOf>[0],
    'select object from blob_part order by sealed_size desc limit 1',
  )
  return rows[0]?.object ?? ''
}

/** The names of settings as those of a new place. */
function to(there: Settings): Settings {
  return Object.fromEntries(
    Object.entries(there)
      .map(([name, value]) => [
        name.startsWith('AWS_') ? `HOLDFAST_TO_${name}` : name.replace('HOLDFAST_', 'HOLDFAST_TO_'),
        value,
      ])
      .concat([['HOLDFAST_UNSAFE_DATABASE', '1']]),
  )
}

async function newDatabase(url: string): Promise<Settings> {
  const name = `moved_${randomBytes(6).toString('hex')}`
  await query({ url, unsafe: true }, `create database ${name}`)
  const address = new URL(url)
  address.pathname = name
  return { HOLDFAST_DATABASE_URL: address.href, HOLDFAST_UNSAFE_DATABASE: '1' }
}

function killedAt(settings: Settings, step: Failpoint, hit: number): Promise<Ended> {
  return run(process.execPath, ['--import', ARM, COMMAND, 'migrate', '--json'], {
    ...settings,
    FAULTS_ORDER: JSON.stringify({ kill: { step, hit } }),
  })
}
