import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { generateIdentity, open, parseIdentity, seal } from '@holdfast/seal'
import { createKeyring, KeyringError, openKeyring } from '../../src/core/keys/keyring.ts'
import { createTestKeyring } from '../helpers/keyring.ts'
import { assertRefusedAtOnce } from '../helpers/refusals.ts'
import { filesBelow } from '../helpers/store.ts'

const FILES = ['1.age', '1.columns.age', 'index.age']
const EVERY = process.env.SLOW === '1' ? 1 : 7

describe('a keyring', { concurrency: 4 }, () => {
  it('is three age files that the root key alone opens', async (t) => {
    const keyring = await createTestKeyring(t)
    assert.deepEqual(
      await filesBelow(keyring.folder),
      FILES.map((name) => `keyring/${name}`),
    )
    const values: string[] = []
    for (const name of FILES) {
      const text = Buffer.from(open([keyring.root], await keyring.read(name))).toString('utf8')
      const [comment = '', value = ''] = text.split('\n')
      assert.match(comment, new RegExp(`^# keyring/${name} [\\w-]{43}$`))
      values.push(value)
    }
    const { current } = await keyring.open()
    assert.equal(`${parseIdentity(values[0] ?? '')}`, `${current.identity}`)
    const secrets = values.slice(1).map((value) => Buffer.from(value, 'base64'))
    assert.deepEqual(
      secrets.map((secret) => secret.length),
      [32, 32],
    )
    assert.notDeepEqual(secrets[0], secrets[1])
  })

  it('gives the same keys each time it is opened', async (t) => {
    const keyring = await createTestKeyring(t)
    const [one, other] = [await keyring.open(), await keyring.open()]
    assert.equal(`${one.current.identity}`, `${other.current.identity}`)
    assert.ok(one.current.columnKey.equals(other.current.columnKey))
    assert.ok(one.indexKey('email').equals(other.indexKey('email')))
  })

  it('has another key for each purpose', async (t) => {
    const keyring = await (await createTestKeyring(t)).open()
    const keys = [
      keyring.current.columnKey,
      keyring.indexKey('email'),
      keyring.indexKey('name_search'),
      keyring.indexKey('address'),
    ].map((key) => key.export().toString('hex'))
    assert.equal(new Set(keys).size, keys.length)
  })

  it('is of the kind of its root key', async (t) => {
    for (const kind of ['x25519', 'hybrid'] as const) {
      const keyring = await (await createTestKeyring(t, kind)).open()
      assert.equal(keyring.current.identity.kind, kind)
    }
  })

  it('seals to the newest epoch and opens every one', async (t) => {
    const files = await createTestKeyring(t)
    for (const number of [2, 10, 9]) await files.addEpoch(number)
    const keyring = await files.open()
    assert.equal(keyring.current.number, 10)
    assert.deepEqual(
      [1, 2, 9, 10].map((number) => keyring.epoch(number).number),
      [1, 2, 9, 10],
    )
    assertRefusedAtOnce(() => keyring.epoch(3), 'integrity')
    assertRefusedAtOnce(() => keyring.epoch(0), 'integrity')
  })

  it('can be made again when its making was interrupted', async (t) => {
    const files = await createTestKeyring(t)
    await rm(join(files.folder, 'keyring/1.age'))
    await createKeyring(files.store, files.root)
    assert.equal((await files.open()).current.number, 1)
  })
})

describe('a keyring that is not whole', { concurrency: 4 }, () => {
  it('is missing', async (t) => {
    const files = await createTestKeyring(t)
    await rm(join(files.folder, 'keyring'), { recursive: true })
    await assert.rejects(files.open(), new KeyringError('the keyring is missing'))
  })

  it('is not opened by another root key', async (t) => {
    const files = await createTestKeyring(t)
    await assert.rejects(openKeyring(files.store, generateIdentity('x25519')), (error) => {
      assert.ok(error instanceof KeyringError)
      assert.equal(error.message, 'the root key does not open keyring/1.age')
      return true
    })
  })

  for (const name of FILES) {
    it(`is refused when ${name} is missing`, async (t) => {
      const files = await createTestKeyring(t)
      await rm(join(files.folder, 'keyring', name))
      await assert.rejects(files.open(), KeyringError)
    })

    it(`is refused when ${name} is cut off anywhere, or goes on`, async (t) => {
      const files = await createTestKeyring(t)
      const whole = await files.read(name)
      for (let size = 0; size < whole.length; size += EVERY) {
        await files.write(name, whole.subarray(0, size))
        await assert.rejects(files.open(), KeyringError, `cut off after ${size} bytes`)
      }
      for (const more of [1, 20_000]) {
        await files.write(name, Buffer.concat([whole, Buffer.alloc(more)]))
        await assert.rejects(files.open(), KeyringError, `with ${more} bytes behind it`)
      }
      await files.write(name, whole)
      await files.open()
    })

    it(`is refused when a bit of ${name} is turned`, async (t) => {
      const files = await createTestKeyring(t)
      const whole = await files.read(name)
      for (let at = 0; at < whole.length; at += EVERY) {
        const turned = Buffer.from(whole)
        turned[at] = (turned[at] ?? 0) ^ (1 << (at % 8))
        await files.write(name, turned)
        await assert.rejects(files.open(), KeyringError, `bit ${at % 8} of byte ${at}`)
      }
    })
  }

  it('is opened without an epoch that is dropped meanwhile', async (t) => {
    const files = await createTestKeyring(t)
    await files.addEpoch(2)
    const dropping: typeof files.store = {
      ...files.store,
      async open(name) {
        if (name === 'keyring/1.columns.age') {
          for (const entry of FILES.slice(0, 2)) await rm(join(files.folder, 'keyring', entry))
        }
        return files.store.open(name)
      },
    }
    const keyring = await openKeyring(dropping, files.root)
    assert.deepEqual([keyring.has(1), keyring.current.number], [false, 2])
  })

  it('is refused when one of its files is another’s', async (t) => {
    const files = await createTestKeyring(t)
    const [identity, columns] = [await files.read('1.age'), await files.read('1.columns.age')]
    await files.write('1.age', columns)
    await assert.rejects(files.open(), KeyringError, 'a secret for the identity')
    await files.write('1.age', identity)
    await files.write('1.columns.age', identity)
    await assert.rejects(files.open(), KeyringError, 'the identity for a secret')
  })

  it('is refused when its two secrets have changed places', async (t) => {
    const files = await createTestKeyring(t)
    const [index, columns] = [await files.read('index.age'), await files.read('1.columns.age')]
    await files.write('index.age', columns)
    await files.write('1.columns.age', index)
    await assert.rejects(files.open(), KeyringError)
  })

  it('is refused when somebody who knows only the public recipient has added an epoch', async (t) => {
    const files = await createTestKeyring(t)
    const another = await createTestKeyring(t)
    for (const name of ['1.age', '1.columns.age']) {
      const entry = open([another.root], await another.read(name))
      await files.write(name.replace('1', '2'), seal([files.root.recipient], entry))
    }
    const planted = new KeyringError('keyring/2.age was not made with this root key')
    await assert.rejects(files.open(), planted)
    await files.write(
      '2.age',
      seal([files.root.recipient], Buffer.from(`${generateIdentity('x25519')}\n`)),
    )
    await assert.rejects(files.open(), planted)
  })
})
