/** `holdfast migrate` from one folder to another. PostgreSQL and a bucket: `engines/migrate.test.ts`. */
import assert from 'node:assert/strict'
import { rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { LARGE, storeFiles } from '../../packages/server/test/helpers/checks.ts'
import { filesBelow, openTestStore } from '../../packages/server/test/helpers/store.ts'
import { flipByte } from '../../packages/server/test/helpers/stored.ts'
import { holdfast, holdfastJson, oneObject, refusedStart } from '../processes.ts'

test('a move that cannot begin ends with 2, says why, and changes nothing', async (t) => {
  const store = await openTestStore(t)
  await storeFiles(store, LARGE, 10)
  const settings = { HOLDFAST_DATA: store.config.data }
  const to = `${store.config.data}.new`
  const refused = async (more: Record<string, string>, message: RegExp) => {
    const { code, stdout, stderr } = await holdfast({ ...settings, ...more }, 'migrate', '--json')
    assert.deepEqual([code, stdout], [2, ''], stderr)
    assert.match(stderr, message)
  }
  await refused({ HOLDFAST_TO_DATA: to }, /^holdfast: another Holdfast server holds /)
  await store.close()
  const before = await filesBelow(store.config.data)
  await refused({}, /^holdfast: nothing is to be moved: HOLDFAST_TO_DATABASE_URL, /)
  const link = `${store.config.data}.link`
  await symlink(store.config.data, link)
  for (const same of [store.config.data, `${store.config.data}/.`, link]) {
    await refused({ HOLDFAST_TO_DATA: same }, /^holdfast: nothing is to be moved/)
  }
  const secret = 'postgres://ann:opensesame@127.0.0.1:1/holdfast'
  await refused(
    { HOLDFAST_TO_DATABASE_URL: secret },
    /^holdfast: PostgreSQL cannot be used: connect ECONNREFUSED 127.0.0.1:1\n$/,
  )
  await refused({ HOLDFAST_TO_BLOBS_URL: '/srv/blobs' }, /^holdfast: HOLDFAST_TO_BLOBS_URL must be/)

  const other = await openTestStore(t)
  await other.close()
  await refused({ HOLDFAST_TO_DATA: other.config.data }, /^holdfast: .* is in use: /)
  await writeFile(join(other.config.data, 'letter.txt'), 'not of Holdfast')
  await rm(join(other.config.data, 'holdfast-volume.json'))
  await rm(join(other.config.data, 'holdfast.db'))
  await rm(join(other.config.data, 'keyring'), { recursive: true })
  await refused({ HOLDFAST_TO_DATA: other.config.data }, /^holdfast: .* has no volume marker/)
  assert.deepEqual(
    (await filesBelow(store.config.data)).filter((name) => !name.startsWith('keys.lock')),
    before,
  )
  assert.equal((await holdfast(settings, 'fsck')).code, 0)
})

test('a damaged object is told with 1, and goes along when somebody says so', async (t) => {
  const store = await openTestStore(t)
  const { files } = await storeFiles(store, LARGE, LARGE + 1, 10)
  await store.close()
  const [{ object, path }] = files as [(typeof files)[number]]
  await flipByte(path, LARGE / 2)
  const to = `${store.config.data}.new`
  const settings = { HOLDFAST_DATA: store.config.data, HOLDFAST_TO_DATA: to }
  const told = { moved: false, clean: false, total: 1, counts: { mismatched: 1 }, objects: 2 }

  const first = await holdfast(settings, 'migrate', '--json')
  assert.equal(first.code, 1)
  assertHas(oneObject(first.stdout), { ...told, resumed: false })
  const [finding] = oneObject<{ findings: { object: string }[] }>(first.stdout).findings
  assert.equal(finding?.object, object)
  assert.match((await refusedStart({ HOLDFAST_DATA: to })).stderr, /has no volume marker/)

  const second = await holdfast(settings, 'migrate', '--with-findings', '--json')
  assert.equal(second.code, 1)
  const copied = { objects: 0, bytes: 0 }
  assertHas(oneObject(second.stdout), { ...told, moved: true, resumed: true, copied })

  const moved = {
    HOLDFAST_DATA: to,
    HOLDFAST_ROOT_KEY_FILE: `${store.config.data}.key`,
  }
  assert.equal((await holdfast(moved, 'fsck')).code, 0)
  const scrub = await holdfast(moved, 'scrub', '--json')
  assert.equal(scrub.code, 1)
  assertHas(oneObject(scrub.stdout), { counts: { damaged: 1 } })
  const old = await refusedStart({ HOLDFAST_DATA: store.config.data })
  assert.equal(old.code, 2)
  assert.match(
    old.stderr,
    new RegExp(`^holdfast: this store was moved to SQLite in ${to} and ${to} on `),
  )
  for (const words of [['fsck'], ['user', 'create', '--email', 'a@b.example', '--name', 'A']]) {
    const { code, stderr } = await holdfast({ HOLDFAST_DATA: store.config.data }, ...words)
    assert.deepEqual([code, stderr], [2, old.stderr])
  }
  await holdfastJson(moved, 'user', 'create', '--email', 'a@b.example', '--name', 'A')
})

/** Holds some fields of an answer against what they are to be. */
function assertHas(found: object, expected: object): void {
  const fields = Object.keys(expected)
  assert.deepEqual(
    Object.fromEntries(Object.entries(found).filter(([name]) => fields.includes(name))),
    expected,
  )
}
