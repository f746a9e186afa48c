import assert from 'node:assert/strict'
import { readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { generateIdentity, type Identity, open } from '@holdfast/seal'
import type { Config } from '../../src/config.ts'
import type { BlobStore } from '../../src/core/blobs/store.ts'
import { resealKeyring } from '../../src/core/keys/keyring.ts'
import { changeRootKey } from '../../src/new-root.ts'
import { openDiskStore } from '../../src/store/blobs/disk.ts'
import { changeMarkerRoot, FolderError, readMarker } from '../../src/store/folder.ts'
import { createRootKey, RootKeyError, readRootKey } from '../../src/store/root-key.ts'
import { createKeeper, keep } from '../helpers/blobs.ts'
import { collect, pattern } from '../helpers/bytes.ts'
import { atOnce } from '../helpers/epochs.ts'
import { filesBelow, openStoreOf, openTestStore } from '../helpers/store.ts'

const ENTRIES = ['1.age', '1.columns.age', '2.age', '2.columns.age', 'index.age']

describe('another root key', { concurrency: 4 }, () => {
  for (const recipient of ['x25519', 'hybrid'] as const) {
    it(`of kind ${recipient} opens everything, and the old one nothing`, async (t) => {
      const { config, newKeyFile, assertWhole } = await closedStore(t)
      const changed = await changeRootKey({ ...config, recipient }, newKeyFile)
      const next = await rootOf({ ...config, rootKeyFile: newKeyFile })
      assert.deepEqual(changed, {
        recipient: `${next.recipient}`,
        kind: recipient,
        keyFile: newKeyFile,
        made: true,
      })
      assert.equal((await stat(newKeyFile)).mode & 0o777, 0o600)
      await assertWhole(newKeyFile)
      const old = await rootOf(config)
      await assert.rejects(
        openStoreOf(t, config),
        new RootKeyError(
          `wrong root key: this is ${old.recipient}, this store needs the one of ${next.recipient}`,
        ),
      )
      for (const name of ENTRIES) {
        const entry = await readFile(join(config.data, 'keyring', name))
        assert.throws(() => open([old], entry), { code: 'no_match' })
        // Stock age opens an entry with the key file and nothing else.
        open([next], entry)
      }
      assert.deepEqual(await filesBelow(join(config.data, 'keyring')), ENTRIES)
    })
  }

  it('can be one that is there already', async (t) => {
    const { config, newKeyFile, assertWhole } = await closedStore(t)
    await createRootKey(newKeyFile, 'x25519')
    assert.equal((await changeRootKey(config, newKeyFile)).made, false)
    await assertWhole(newKeyFile)
  })

  it('is refused where a copied folder would carry it, or others can read it', async (t) => {
    const { config } = await closedStore(t)
    await assert.rejects(changeRootKey(config, join(config.data, 'new.key')), RootKeyError)
    await assert.rejects(changeRootKey(config, '/dev/null'), RootKeyError)
    await openStoreOf(t, config)
  })

  it('is refused while a server runs', async (t) => {
    const { config } = await openTestStore(t)
    const newKeyFile = `${config.data}.new.key`
    await assert.rejects(changeRootKey(config, newKeyFile), FolderError)
    await assert.rejects(stat(newKeyFile), { code: 'ENOENT' })
  })

  it('is refused without the old one', async (t) => {
    const { config, newKeyFile } = await closedStore(t)
    await rm(config.rootKeyFile)
    await assert.rejects(changeRootKey(config, newKeyFile), RootKeyError)
    await assert.rejects(stat(newKeyFile), { code: 'ENOENT' })
  })
})

describe('a change of the root key that is interrupted', { concurrency: 4 }, () => {
  for (const done of process.env.SLOW ? [0, 1, 2, 3, 4, 5] : [1, 5]) {
    it(`with ${done} entries sealed for both opens with the old key, and the next run finishes`, async (t) => {
      const { config, newKeyFile, assertWhole } = await closedStore(t)
      const next = await createRootKey(newKeyFile, 'x25519')
      const root = await rootOf(config)
      await interrupted(config, done, (store) => resealKeyring(store, root, [root, next]))
      await assertWhole(config.rootKeyFile)
      await assert.rejects(openStoreOf(t, { ...config, rootKeyFile: newKeyFile }), RootKeyError)
      await changeRootKey(config, newKeyFile)
      await assertWhole(newKeyFile)
    })

    it(`with ${done} entries sealed for the new one alone opens with that, and the next run finishes`, async (t) => {
      const { config, newKeyFile, assertWhole } = await closedStore(t)
      const next = await createRootKey(newKeyFile, 'x25519')
      const root = await rootOf(config)
      const store = await openDiskStore(config.data)
      await resealKeyring(store, root, [root, next])
      const marker = await readMarker(config.data)
      assert.ok(marker)
      await changeMarkerRoot(config.data, marker, `${next.recipient}`)
      await interrupted(config, done, (failing) => resealKeyring(failing, next, [next]))
      await assertWhole(newKeyFile)
      await assert.rejects(openStoreOf(t, config), RootKeyError)
      await changeRootKey(config, newKeyFile)
      await assertWhole(newKeyFile)
      const entry = await readFile(join(config.data, 'keyring/1.age'))
      assert.throws(() => open([root], entry), { code: 'no_match' })
    })
  }

  it('can go on with yet another key', async (t) => {
    const { config, newKeyFile, assertWhole } = await closedStore(t)
    const root = await rootOf(config)
    const lost = generateIdentity('x25519')
    await interrupted(config, 3, (store) => resealKeyring(store, root, [root, lost]))
    await changeRootKey(config, newKeyFile)
    await assertWhole(newKeyFile)
    for (const name of ENTRIES) {
      const entry = await readFile(join(config.data, 'keyring', name))
      assert.throws(() => open([root, lost], entry), { code: 'no_match' })
    }
  })
})

/** A store with two epochs and content of both, that no server holds. */
async function closedStore(t: TestContext) {
  const store = await openTestStore(t)
  const { config } = store
  const keeper = await createKeeper(store)
  const old = await keep(store, keeper, pattern(100_000))
  await store.core.epochs.begin(atOnce)
  const newer = await keep(store, keeper, pattern(100))
  await store.close()
  return {
    config,
    newKeyFile: `${config.data}.new.key`,
    async assertWhole(rootKeyFile: string) {
      const again = await openStoreOf(t, { ...config, rootKeyFile })
      for (const blob of [old, newer]) {
        const bytes = await collect(again.core.blobs.read(blob, 0, blob.size))
        assert.deepEqual(bytes, pattern(blob.size))
      }
      await again.close()
    },
  }
}

async function rootOf(config: Config): Promise<Identity> {
  const root = await readRootKey(config.rootKeyFile, config.data)
  assert.ok(root)
  return root
}

/** Runs work on a store that ends when so many objects were replaced. */
async function interrupted(
  config: Config,
  objects: number,
  work: (store: BlobStore) => Promise<void>,
): Promise<void> {
  const store = await openDiskStore(config.data)
  let made = 0
  const failing: BlobStore = {
    ...store,
    async replace(name, bytes) {
      if (made === objects) throw new Error('killed')
      made += 1
      return store.replace(name, bytes)
    },
  }
  if (objects < ENTRIES.length) await assert.rejects(work(failing), /killed/)
  else await work(failing)
}
