import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { generateIdentity, type Identity } from '@holdfast/seal'
import type { Config } from '../../src/config.ts'
import type { BlobStore } from '../../src/core/blobs/store.ts'
import {
  createEpoch,
  createKeyring,
  type Keyring,
  openKeyring,
} from '../../src/core/keys/keyring.ts'
import { openDiskStore } from '../../src/store/blobs/disk.ts'
import { readRootKey } from '../../src/store/root-key.ts'
import { testFolder } from './cleanup.ts'

/** A keyring in a folder of its own, that no store uses. */
export interface TestKeyring {
  readonly folder: string
  readonly store: BlobStore
  readonly root: Identity
  open(): Promise<Keyring>
  /** Adds an epoch, as a rotation will: from then on it is the current one. */
  addEpoch(number: number): Promise<void>
  read(name: string): Promise<Buffer>
  write(name: string, bytes: Uint8Array): Promise<void>
}

export async function createTestKeyring(
  t: TestContext,
  kind: 'x25519' | 'hybrid' = 'x25519',
): Promise<TestKeyring> {
  const folder = await testFolder(t)
  const store = await openDiskStore(folder)
  const root = generateIdentity(kind)
  await createKeyring(store, root)
  const path = (name: string) => join(folder, 'keyring', name)
  return {
    folder,
    store,
    root,
    open: () => openKeyring(store, root),
    addEpoch: (number) => createEpoch(store, root, number, root.kind),
    read: (name) => readFile(path(name)),
    write: (name, bytes) => writeFile(path(name), bytes),
  }
}

/** The keyring of a store, as whoever has the root key opens it. */
export async function keyringOf({ rootKeyFile, data }: Config): Promise<Keyring> {
  const root = await readRootKey(rootKeyFile, data)
  if (!root) throw new Error('the store has no root key')
  return openKeyring(await openDiskStore(data), root)
}
