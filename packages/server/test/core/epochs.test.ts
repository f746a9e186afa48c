import assert from 'node:assert/strict'
import { cp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { generateIdentity, seal } from '@holdfast/seal'
import { KeyringError } from '../../src/core/keys/keyring.ts'
import { openForCommand } from '../../src/open.ts'
import { readRootKey } from '../../src/store/root-key.ts'
import { createKeeper, held, keep, LIMIT, link, NOTHING } from '../helpers/blobs.ts'
import { collect, inPieces, pattern } from '../helpers/bytes.ts'
import { atOnce, epochsIn, epochsOf, openCommand, reopen } from '../helpers/epochs.ts'
import { assertRefused } from '../helpers/refusals.ts'
import { openStoreOf, openTestStore, rowsOf, type TestStore, tamper } from '../helpers/store.ts'

const killed = () => Promise.reject(new Error('killed'))
const LARGE = 100_000

describe('a new epoch', { concurrency: 4 }, () => {
  it('seals everything that is stored from then on, and what is older stays readable', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const before = await keep(store, keeper, pattern(LARGE))
    assert.equal(await store.core.epochs.begin(atOnce), 2)
    const after = await keep(store, keeper, pattern(LARGE, 2))
    const small = await keep(store, keeper, pattern(10))
    assert.deepEqual(await epochsOf(store, 'small_content'), [2])
    assert.deepEqual(await epochsOf(store, 'identity'), [1])
    assert.deepEqual(
      (await rowsOf(store.config, 'select epoch from blob_part order by epoch')).map(
        ({ epoch }) => epoch,
      ),
      [1, 2],
    )
    const reopened = await reopen(t, store)
    for (const [blob, bytes] of [
      [before, pattern(LARGE)],
      [after, pattern(LARGE, 2)],
      [small, pattern(10)],
    ] as const) {
      assert.deepEqual(await collect(reopened.core.blobs.read(blob, 0, blob.size)), bytes)
    }
    assert.deepEqual(await epochsIn(reopened.core), ['1 old x25519', '2 current x25519'])
  })

  it('is of the kind that the settings ask for', async (t) => {
    const store = await openTestStore(t)
    const config = { ...store.config, recipient: 'hybrid' as const }
    const command = await openCommand(t, config)
    await command.epochs.begin(atOnce)
    assert.deepEqual(await epochsIn(command), ['1 old x25519', '2 current hybrid'])
  })

  it('goes on with the one that was announced when its beginning was interrupted', async (t) => {
    const store = await openTestStore(t)
    await assert.rejects(store.core.epochs.begin(killed), /killed/)
    const reopened = await reopen(t, store)
    assert.deepEqual(await epochsIn(reopened.core), ['1 current x25519', '2 announced x25519'])
    await createKeeper(reopened)
    assert.deepEqual(await epochsOf(reopened, 'identity'), [1])
    const keys = await readFile(join(store.config.data, 'keyring/2.age'))
    assert.equal(await reopened.core.epochs.begin(atOnce), 2)
    assert.deepEqual(await readFile(join(store.config.data, 'keyring/2.age')), keys)
  })

  it('takes keys that were made before it was announced', async (t) => {
    const store = await openTestStore(t)
    await assert.rejects(store.core.epochs.begin(killed))
    await tamper(store.config, 'delete from epoch where number = 2')
    const reopened = await reopen(t, store)
    assert.equal(await reopened.core.epochs.begin(atOnce), 2)
  })

  it('takes another number when the keys of the announced one are lost', async (t) => {
    const store = await openTestStore(t)
    await assert.rejects(store.core.epochs.begin(killed))
    await rm(join(store.config.data, 'keyring/2.age'))
    const reopened = await reopen(t, store)
    assert.equal(await reopened.core.epochs.begin(atOnce), 3)
    assert.deepEqual(await epochsIn(reopened.core), [
      '1 old x25519',
      '2 dropped gone',
      '3 current x25519',
    ])
  })
})

describe('a process beside the one that begins an epoch', { concurrency: 4 }, () => {
  it('seals to the new one from its next transaction on', async (t) => {
    const store = await openTestStore(t)
    const command = await openCommand(t, store.config)
    await command.epochs.begin(atOnce)
    await createKeeper(store)
    assert.deepEqual(await epochsOf(store, 'identity'), [2])
  })

  it('reads what others seal to it once it has followed', async (t) => {
    const store = await openTestStore(t)
    const command = await openCommand(t, store.config)
    await command.epochs.begin(() => store.core.epochs.follow())
    const { id } = await command.identities.createPerson({ email: 'a@b.example', name: 'A' })
    assert.equal((await store.core.identities.get(id)).profile.displayName, 'A')
  })

  it('writes nothing when it cannot load it, and reads on', async (t) => {
    const store = await openTestStore(t)
    const keeper = await createKeeper(store)
    const blob = await keep(store, keeper, pattern(LARGE))
    const whole = await held(store)
    const command = await openCommand(t, store.config)
    await command.epochs.begin(atOnce)
    const identity = join(store.config.data, 'keyring/2.age')
    await rename(identity, `${identity}.away`)
    await assertRefused(keep(store, keeper, pattern(10)), 'key_unavailable')
    await assertRefused(keep(store, keeper, pattern(LARGE)), 'key_unavailable')
    await assert.rejects(
      store.core.epochs.follow(),
      new KeyringError('keyring/2.age is missing or damaged'),
    )
    assert.deepEqual(await held(store), whole, 'no bytes are left behind')
    assert.deepEqual(await collect(store.core.blobs.read(blob, 0, LARGE)), pattern(LARGE))
    await rename(`${identity}.away`, identity)
    await keep(store, keeper, pattern(10))
    assert.deepEqual(await epochsOf(store, 'small_content'), [2])
  })
})

describe('somebody who can write to the data folder', { concurrency: 4 }, () => {
  it('cannot plant an epoch of his own', async (t) => {
    const store = await openTestStore(t)
    const root = await readRootKey(store.config.rootKeyFile, store.config.data)
    assert.ok(root)
    const planted = seal([root.recipient], Buffer.from(`# a\n${generateIdentity('x25519')}\n`))
    await cp(
      join(store.config.data, 'keyring/1.columns.age'),
      join(store.config.data, 'keyring/2.columns.age'),
    )
    await writeFile(join(store.config.data, 'keyring/2.age'), planted)
    await setState(store, 2, 'announced')
    const refusal = new KeyringError('keyring/2.age was not made with this root key')
    await assert.rejects(store.core.epochs.follow(), refusal)
    await createKeeper(store)
    assert.deepEqual(await epochsOf(store, 'identity'), [1])
    await setState(store, 1, 'old')
    await setState(store, 2, 'current')
    const person = { email: 'a@b.example', name: 'A' }
    await assertRefused(store.core.identities.createPerson(person), 'key_unavailable')
    await store.close()
    await assert.rejects(openStoreOf(t, store.config), refusal)
  })

  it('cannot lead a process back to an older epoch, or to none', async (t) => {
    const store = await openTestStore(t)
    await store.core.epochs.begin(atOnce)
    await setState(store, 2, 'old')
    await assertRefused(createKeeper(store), 'key_unavailable')
    await setState(store, 1, 'current')
    await store.core.epochs.follow()
    await assertRefused(createKeeper(store), 'key_unavailable')
    assert.deepEqual(await epochsOf(store, 'identity'), [])
  })

  it('cannot put back an older keyring unnoticed', async (t) => {
    const store = await openTestStore(t)
    const keyring = join(store.config.data, 'keyring')
    await cp(keyring, `${keyring}.old`, { recursive: true })
    await store.core.epochs.begin(atOnce)
    await createKeeper(store)
    await store.close()
    await rm(keyring, { recursive: true })
    await rename(`${keyring}.old`, keyring)
    const refusal = new KeyringError(
      'the keys of epoch 2 are missing: the keyring is older than the database, put back its newest copy',
    )
    await assert.rejects(openStoreOf(t, store.config), refusal)
    await assert.rejects(openForCommand(store.config, Date.now), refusal)
  })
})

describe('an epoch that is dropped', { concurrency: 4 }, () => {
  it('keeps its keys as long as it seals anything, and while it is current', async (t) => {
    const store = await openTestStore(t)
    assert.equal(await store.core.epochs.drop(1), false, 'current')
    await createKeeper(store)
    await store.core.epochs.begin(atOnce)
    assert.equal(await store.core.epochs.drop(1), false, 'a row')
    assert.deepEqual(await epochsIn(store.core), ['1 old x25519', '2 current x25519'])
    await tamper(store.config, 'delete from identity')
    assert.equal(await store.core.epochs.drop(1), true)
    const reopened = await reopen(t, store)
    assert.deepEqual(await epochsIn(reopened.core), ['1 dropped gone', '2 current x25519'])
  })

  it('takes no bytes any more that were sealed before', async (t) => {
    const store = await openTestStore(t)
    const staged = await store.core.blobs.stage(inPieces(pattern(LARGE)), LIMIT)
    await store.core.epochs.begin(atOnce)
    const keeper = await createKeeper(store)
    assert.equal(await store.core.epochs.drop(1), true)
    await assertRefused(
      store.core.blobs.keep(staged, (writer) => link(writer, keeper, staged.id)),
      'key_unavailable',
    )
    assert.deepEqual(await held(store), NOTHING)
    await keep(store, keeper, pattern(LARGE))
  })

  it('is forgotten by other processes a minute later, not at once', async (t) => {
    const store = await openTestStore(t)
    const command = await openCommand(t, store.config)
    await command.epochs.begin(atOnce)
    assert.equal(await command.epochs.drop(1), true)
    const isKnown = async () => (await store.core.epochs.list())[0]?.kind === 'x25519'
    await store.core.epochs.follow()
    assert.ok(await isKnown())
    store.clock.advance(60_000)
    await store.core.epochs.follow()
    assert.ok(!(await isKnown()))
  })

  it('loses keys that a crash has left', async (t) => {
    const store = await openTestStore(t)
    await store.core.epochs.begin(atOnce)
    await setState(store, 1, 'dropped')
    const reopened = await reopen(t, store)
    assert.deepEqual(await epochsIn(reopened.core), ['1 dropped gone', '2 current x25519'])
    await reopened.core.epochs.finishDropping()
    await assert.rejects(readFile(join(store.config.data, 'keyring/1.age')), { code: 'ENOENT' })
  })
})

async function setState(store: TestStore, number: number, state: string): Promise<void> {
  await tamper(
    store.config,
    `insert into epoch (number, state, created_at) values (?, ?, 0)
      on conflict (number) do update set state = excluded.state`,
    number,
    state,
  )
}
