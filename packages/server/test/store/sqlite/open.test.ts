import assert from 'node:assert/strict'
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { generateIdentity, parseIdentity } from '@holdfast/seal'
import type { Config } from '../../../src/config.ts'
import { KeyringError } from '../../../src/core/keys/keyring.ts'
import { openForCommand, openForServer } from '../../../src/open.ts'
import { SCHEMA_VERSION } from '../../../src/store/database/migrate.ts'
import { FolderError, folderPaths } from '../../../src/store/folder.ts'
import { RootKeyError } from '../../../src/store/root-key.ts'
import { collect, inPieces, pattern } from '../../helpers/bytes.ts'
import { atEnd } from '../../helpers/cleanup.ts'
import { filesBelow, openStoreOf, rowsOf, tamper, temporaryConfig } from '../../helpers/store.ts'

describe('the first start', { concurrency: 4 }, () => {
  it('makes the root key beside the data folder, and a keyring, marker and database in it', async (t) => {
    const config = await temporaryConfig(t)
    const opened = await openServer(t, config)
    assert.equal(opened.madeRootKey, true)
    assert.equal(config.rootKeyFile, `${config.data}.key`)
    assert.equal((await stat(config.rootKeyFile)).mode & 0o777, 0o600)
    await opened.close()
    assert.deepEqual(await filesBelow(config.data), [
      'holdfast-volume.json',
      'holdfast.db',
      'keyring/1.age',
      'keyring/1.columns.age',
      'keyring/index.age',
      'server.lock',
    ])
    const marker = JSON.parse(await readFile(folderPaths(config.data).marker, 'utf8'))
    assert.equal(marker.root, `${(await rootKeyOf(config)).recipient}`)
  })

  it('leaves nothing of the root key in the data folder', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    const secret = `${await rootKeyOf(config)}`.slice('AGE-SECRET-KEY-1'.length, -6)
    for (const name of await filesBelow(config.data)) {
      const bytes = await readFile(join(config.data, name))
      assert.ok(!bytes.toString('latin1').toUpperCase().includes(secret), name)
    }
  })

  it('takes a root key that is there already', async (t) => {
    const config = await temporaryConfig(t)
    const key = generateIdentity('x25519')
    await writeFile(config.rootKeyFile, `${key}\n`, { mode: 0o600 })
    const opened = await openServer(t, config)
    assert.equal(opened.madeRootKey, false)
    assert.equal(`${await rootKeyOf(config)}`, `${key}`)
  })

  it('is post-quantum when that is asked for: root, keyring and blobs', async (t) => {
    const config = await temporaryConfig(t, { HOLDFAST_RECIPIENT: 'hybrid' })
    const { core } = await openServer(t, config)
    assert.equal((await rootKeyOf(config)).kind, 'hybrid')
    const staged = await core.blobs.stage(inPieces(pattern(100_000)), 100_000)
    await core.blobs.keep(staged, async () => undefined)
    assert.deepEqual(
      await collect(core.blobs.read(staged, 0, 100_000)),
      Buffer.from(pattern(100_000)),
    )
    for (const name of ['keyring/1.age', `blobs/${staged.id.slice(0, 2)}/${staged.id}.1`]) {
      const head = (await readFile(join(config.data, name))).subarray(0, 100).toString('latin1')
      assert.match(head, /^age-encryption.org\/v1\n-> mlkem768x25519 /, name)
    }
  })

  it('refuses a folder with anything in it and makes no key for it', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    await rm(config.rootKeyFile)
    await rm(folderPaths(config.data).marker)
    await assert.rejects(openServer(t, config), FolderError)
    await assert.rejects(stat(config.rootKeyFile), { code: 'ENOENT' })
  })

  it('refuses a root key inside the data folder before anything is made', async (t) => {
    const config = await temporaryConfig(t)
    const inside = { ...config, rootKeyFile: join(config.data, 'root.key') }
    await assert.rejects(openServer(t, inside), RootKeyError)
    assert.deepEqual(await filesBelow(config.data), ['server.lock'])
  })
})

describe('a first start that is interrupted', { concurrency: 4 }, () => {
  /** What a first start makes, in its order. */
  const steps = [
    'data.key',
    'data/holdfast-volume.json',
    'data/tmp',
    'data/trash',
    'data/keyring',
    'data/keyring/index.age',
    'data/keyring/1.columns.age',
    'data/keyring/1.age',
    'data/holdfast.db',
  ]

  for (const [done, next] of steps.entries()) {
    it(`before ${next} is made good by the next one`, async (t) => {
      const config = await temporaryConfig(t)
      await (await openServer(t, config)).close()
      const folder = config.data.slice(0, -'/data'.length)
      for (const step of steps.slice(done)) {
        await rm(join(folder, step), { recursive: true, force: true })
      }
      const { core, close } = await openServer(t, config)
      const { id } = await core.identities.createPerson({ email: 'a@example.com', name: 'Ann' })
      await close()
      const again = await openServer(t, config)
      assert.equal((await again.core.identities.get(id)).profile.displayName, 'Ann')
      assert.equal(again.madeRootKey, false)
    })
  }

  it('in the middle of its database is made good by the next one', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    await writeFile(folderPaths(config.data).database, '')
    await openServer(t, config)
    assert.deepEqual((await rowsOf(config, 'pragma auto_vacuum'))[0], {
      __proto__: null,
      auto_vacuum: 2,
    })
  })

  it('in the middle of a keyring file is made good by the next one', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    await rm(folderPaths(config.data).database)
    await rename(join(config.data, 'keyring/1.age'), join(config.data, 'tmp/unfinished'))
    await openServer(t, config)
    assert.deepEqual(await readdir(join(config.data, 'tmp')), [])
  })
})

describe('a later start', { concurrency: 4 }, () => {
  it('finds everything as it was', async (t) => {
    const config = await temporaryConfig(t)
    const first = await openServer(t, config)
    const { id } = await first.core.identities.createPerson({ email: 'a@example.com', name: 'Ann' })
    const before = await keyFiles(config)
    await first.close()
    const second = await openServer(t, config)
    assert.equal(second.madeRootKey, false)
    assert.equal((await second.core.identities.findByEmail('a@example.com')).id, id)
    assert.deepEqual(await keyFiles(config), before)
  })

  it('is refused while another server holds the folder, and possible once that has ended', async (t) => {
    const config = await temporaryConfig(t)
    const first = await openServer(t, config)
    await assert.rejects(
      openServer(t, config),
      new FolderError(`another Holdfast server holds ${config.data}`),
    )
    await first.close()
    await openServer(t, config)
  })

  it('makes no new root key for a store that has one, and says which is wanted', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    const { recipient } = await rootKeyOf(config)
    await rm(config.rootKeyFile)
    const wanted = new RootKeyError(
      `the root key ${config.rootKeyFile} is missing; this store needs the one of ${recipient}`,
    )
    await assert.rejects(openServer(t, config), wanted)
    await assert.rejects(openForCommand(config, Date.now), wanted)
    await assert.rejects(stat(config.rootKeyFile), { code: 'ENOENT' })
  })

  it('is refused with another root key, and says which is wanted', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    const { recipient } = await rootKeyOf(config)
    const other = generateIdentity('x25519')
    await writeFile(config.rootKeyFile, `${other}\n`)
    const wrong = new RootKeyError(
      `wrong root key: this is ${other.recipient}, this store needs the one of ${recipient}`,
    )
    await assert.rejects(openServer(t, config), wrong)
    await assert.rejects(openForCommand(config, Date.now), wrong)
  })

  it('is refused without its keyring, which is never made anew for a store with a database', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    await rm(join(config.data, 'keyring'), { recursive: true })
    await assert.rejects(openServer(t, config), new KeyringError('the keyring is missing'))
    await assert.rejects(openForCommand(config, Date.now), KeyringError)
    assert.deepEqual(await filesBelow(join(config.data, 'keyring')), [])
  })

  it('is refused without its database when there are blobs', async (t) => {
    const config = await temporaryConfig(t)
    await keepLargeBlob(t, config)
    await rm(folderPaths(config.data).database)
    await assert.rejects(openServer(t, config), FolderError)
    await assert.rejects(stat(folderPaths(config.data).database), { code: 'ENOENT' })
  })

  it('is refused with an empty database when there are blobs, which would all look untracked', async (t) => {
    const config = await temporaryConfig(t)
    await keepLargeBlob(t, config)
    const { database } = folderPaths(config.data)
    await writeFile(database, '')
    await assert.rejects(openServer(t, config), FolderError)
    await assert.rejects(openServer(t, config), FolderError, 'at every start')
  })

  it('is refused with the database of another store', async (t) => {
    const [one, other] = [await temporaryConfig(t), await temporaryConfig(t)]
    await (await openServer(t, one)).close()
    await (await openServer(t, other)).close()
    await cp(folderPaths(other.data).database, folderPaths(one.data).database)
    await assert.rejects(
      openServer(t, one),
      new FolderError('the database and the volume marker belong to different stores'),
    )
  })

  it('is refused on a database that a newer program has migrated', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    await addMigration(config, '9999-later')
    await assert.rejects(openServer(t, config), FolderError)
  })

  it('gives the folder free again when it is refused', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    await rename(config.rootKeyFile, `${config.rootKeyFile}.away`)
    await assert.rejects(openServer(t, config), RootKeyError)
    await rename(`${config.rootKeyFile}.away`, config.rootKeyFile)
    await openServer(t, config)
  })
})

describe('a command', { concurrency: 4 }, () => {
  it('works beside the server, and each sees at once what the other did', async (t) => {
    const config = await temporaryConfig(t)
    const server = await openServer(t, config)
    const command = await openForCommand(config, Date.now)
    atEnd(t, command.close)
    const one = await command.core.identities.createPerson({ email: 'a@example.com', name: 'Ann' })
    assert.deepEqual(await server.core.identities.get(one.id), one)
    const two = await server.core.identities.createPerson({ email: 'b@example.com', name: 'Bob' })
    assert.deepEqual(await command.core.identities.get(two.id), two)
  })

  it('works without a server', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    const command = await openForCommand(config, Date.now)
    await command.core.identities.createPerson({ email: 'a@example.com', name: 'Ann' })
    await command.close()
  })

  it('refuses a folder that is missing or empty, and makes nothing', async (t) => {
    const config = await temporaryConfig(t)
    const refused = new FolderError(`there is no store in ${config.data}: start the server once`)
    await assert.rejects(openForCommand(config, Date.now), refused)
    await assert.rejects(stat(config.data), { code: 'ENOENT' })
    await assert.rejects(stat(config.rootKeyFile), { code: 'ENOENT' })
  })

  it('refuses a store whose first start was interrupted, and makes nothing', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    for (const name of ['holdfast.db', 'tmp', 'trash', 'keyring']) {
      await rm(join(config.data, name), { recursive: true, force: true })
    }
    const before = await readdir(config.data)
    await assert.rejects(openForCommand(config, Date.now), FolderError)
    assert.deepEqual(await readdir(config.data), before)
  })

  it('refuses a database without a schema and does not migrate it', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    await writeFile(folderPaths(config.data).database, '')
    await assert.rejects(
      openForCommand(config, Date.now),
      new FolderError(
        `the database has schema none, this program knows ${SCHEMA_VERSION}: start the server of this version once`,
      ),
    )
    assert.deepEqual(await rowsOf(config, 'select name from sqlite_master'), [])
  })

  it('refuses a database of an older or a newer schema', async (t) => {
    const config = await temporaryConfig(t)
    await (await openServer(t, config)).close()
    await addMigration(config, '9999-later')
    await assert.rejects(openForCommand(config, Date.now), FolderError, 'newer')
    await tamper(
      config,
      `delete from kysely_migration where name in ('9999-later', '${SCHEMA_VERSION}')`,
    )
    await assert.rejects(openForCommand(config, Date.now), FolderError, 'older')
  })

  it('does not touch what unfinished uploads of the running server have written', async (t) => {
    const config = await temporaryConfig(t)
    await openServer(t, config)
    await writeFile(join(config.data, 'tmp/unfinished'), 'x')
    await mkdir(join(config.data, 'trash'))
    await writeFile(join(config.data, 'trash/waiting'), 'x')
    const command = await openForCommand(config, Date.now)
    await command.close()
    assert.deepEqual(await readdir(join(config.data, 'tmp')), ['unfinished'])
    assert.deepEqual(await readdir(join(config.data, 'trash')), ['waiting'])
  })
})

async function openServer(t: TestContext, config: Config) {
  const opened = await openForServer(config, Date.now, assert.ifError)
  let closed: Promise<void> | undefined
  function close(): Promise<void> {
    closed ??= opened.close()
    return closed
  }
  atEnd(t, close)
  return { ...opened, close }
}

async function rootKeyOf(config: Config) {
  const lines = (await readFile(config.rootKeyFile, 'utf8')).trim().split('\n')
  return parseIdentity(lines.at(-1) ?? '')
}

async function keyFiles(config: Config): Promise<string[]> {
  const names = ['1.age', '1.columns.age', 'index.age'].map((name) =>
    join(config.data, 'keyring', name),
  )
  return Promise.all([config.rootKeyFile, ...names].map((name) => readFile(name, 'base64')))
}

async function keepLargeBlob(t: TestContext, config: Config): Promise<void> {
  const { core, close } = await openStoreOf(t, config)
  const staged = await core.blobs.stage(inPieces(pattern(100_000)), 100_000)
  await core.blobs.keep(staged, async () => undefined)
  await close()
}

async function addMigration(config: Config, name: string): Promise<void> {
  const at = '2030-01-01T00:00:00.000Z'
  await tamper(config, 'insert into kysely_migration (name, timestamp) values (?, ?)', name, at)
}
