import { createHmac, createSecretKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto'
import {
  generateIdentity,
  type Identity,
  open,
  parseIdentity,
  SealError,
  seal,
} from '@holdfast/seal'
import type { BlobStore } from '../blobs/store.ts'
import { CoreError } from '../errors.ts'
import { equalSecrets } from '../secrets.ts'

const FOLDER = 'keyring/'
const INDEX_SECRET = `${FOLDER}index.age`
const SECRET_BYTES = 32
/** A keyring object is an identity or a secret behind one age header; anything longer is not ours. */
const LARGEST_OBJECT = 16 * 1024

/** The keys of one epoch: what is stored now is sealed to the newest one. */
export interface Epoch {
  readonly number: number
  /** Seals and opens blob parts. */
  readonly identity: Identity
  /** AES-256-GCM, seals and opens columns. */
  readonly columnKey: KeyObject
}

/** What keyed tokens are made for; each has a key of its own. */
export type IndexPurpose = 'email' | 'name_search' | 'address'

/** The opened keyring. Nothing in it is ever written in the open or logged. */
export interface Keyring {
  /** The epoch that new bytes are sealed to. */
  readonly current: Epoch
  /** @throws CoreError integrity for an epoch that is not in the keyring */
  epoch(number: number): Epoch
  /** A key for equality or search tokens; the same for all epochs. */
  indexKey(purpose: IndexPurpose): KeyObject
  /** A key for what the server signs for itself; the same for all epochs. */
  signingKey(purpose: 'link'): KeyObject
}

/** A keyring that the root key does not open, or that is not there; the message says which. */
export class KeyringError extends Error {
  override name = 'KeyringError'
}

/** Makes the keyring of a new store. Safe to repeat when it was interrupted. */
export async function createKeyring(store: BlobStore, root: Identity): Promise<void> {
  await putEntry(store, root, INDEX_SECRET, newSecret())
  await createEpoch(store, root, 1)
}

/** Adds the keys of an epoch. From the next start on it is the current one, if its number is the highest. */
export async function createEpoch(store: BlobStore, root: Identity, number: number): Promise<void> {
  await putEntry(store, root, `${FOLDER}${number}.columns.age`, newSecret())
  // The identity comes last: an epoch exists when its identity does.
  await putEntry(store, root, `${FOLDER}${number}.age`, `${generateIdentity(root.kind)}`)
}

/** @throws KeyringError when the keyring is missing, damaged, or sealed to another root key */
export async function openKeyring(store: BlobStore, root: Identity): Promise<Keyring> {
  const numbers: number[] = []
  for await (const { name } of store.list(FOLDER)) {
    const number = /^keyring\/([1-9][0-9]*)\.age$/.exec(name)?.[1]
    if (number) numbers.push(Number(number))
  }
  if (numbers.length === 0) throw new KeyringError('the keyring is missing')

  const epochs = new Map<number, Epoch>()
  for (const number of numbers.sort((a, b) => a - b)) {
    const identity = await getIdentity(store, root, `${FOLDER}${number}.age`)
    const columns = await getSecret(store, root, `${FOLDER}${number}.columns.age`)
    epochs.set(number, { number, identity, columnKey: derive(columns, 'columns') })
  }
  const current = [...epochs.values()].at(-1) as Epoch
  const indexSecret = await getSecret(store, root, INDEX_SECRET)
  const indexKeys = new Map<IndexPurpose, KeyObject>()
  for (const purpose of ['email', 'name_search', 'address'] as const) {
    indexKeys.set(purpose, derive(indexSecret, `index/${purpose}`))
  }
  const linkKey = derive(indexSecret, 'signing/link')

  return {
    current,
    epoch(number) {
      const epoch = epochs.get(number)
      if (!epoch) throw new CoreError('integrity', `epoch ${number} is not in the keyring`)
      return epoch
    },
    indexKey: (purpose) => indexKeys.get(purpose) as KeyObject,
    signingKey: () => linkKey,
  }
}

function derive(secret: Uint8Array, purpose: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', `holdfast/1/${purpose}`, 32)))
}

function newSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64')
}

async function getIdentity(store: BlobStore, root: Identity, name: string): Promise<Identity> {
  try {
    return parseIdentity(await getEntry(store, root, name))
  } catch (error) {
    if (error instanceof KeyringError) throw error
    throw new KeyringError(`${name} holds no identity`)
  }
}

async function getSecret(store: BlobStore, root: Identity, name: string): Promise<Uint8Array> {
  const secret = Buffer.from(await getEntry(store, root, name), 'base64')
  if (secret.byteLength !== SECRET_BYTES) throw new KeyringError(`${name} holds no secret`)
  return secret
}

/*
 * An entry is a comment line and a value, so that stock `age` takes the identity of an epoch as it is.
 * The comment authenticates: anybody who knows the root's public recipient can seal to it, and would
 * otherwise plant an epoch of his own for all that is stored from then on.
 */

async function putEntry(
  store: BlobStore,
  root: Identity,
  name: string,
  value: string,
): Promise<void> {
  const text = `${authentication(root, name, value)}\n${value}\n`
  const writer = await store.create(name)
  await writer.write([seal([root.recipient], Buffer.from(text))])
  await writer.commit()
}

async function getEntry(store: BlobStore, root: Identity, name: string): Promise<string> {
  const text = Buffer.from(await getSealed(store, root, name)).toString('utf8')
  const [comment = '', value = ''] = text.split('\n')
  if (!equalSecrets(comment, authentication(root, name, value))) {
    throw new KeyringError(`${name} was not made with this root key`)
  }
  return value
}

function authentication(root: Identity, name: string, value: string): string {
  const key = derive(Buffer.from(`${root}`), 'keyring')
  const mac = createHmac('sha256', key).update(`${name}\n${value}`).digest('base64url')
  return `# ${name} ${mac}`
}

async function getSealed(store: BlobStore, root: Identity, name: string): Promise<Uint8Array> {
  try {
    const object = await store.open(name)
    try {
      return open([root], await object.read(0, Math.min(object.size, LARGEST_OBJECT)))
    } finally {
      await object.close()
    }
  } catch (error) {
    if (error instanceof SealError && error.code === 'no_match') {
      throw new KeyringError(`the root key does not open ${name}`, { cause: error })
    }
    throw new KeyringError(`${name} is missing or damaged`, { cause: error })
  }
}
