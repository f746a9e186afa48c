import { createHmac, createSecretKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto'
import {
  generateIdentity,
  type Identity,
  type KeyKind,
  open,
  parseIdentity,
  SealError,
  seal,
} from '@holdfast/seal'
import { type BlobStore, readObject } from '../blobs/store.ts'
import { CoreError } from '../errors.ts'
import { equalSecrets } from '../secrets.ts'

/** Where the keys lie in a store. */
export const KEYRING_FOLDER = 'keyring/'
const INDEX_SECRET = `${KEYRING_FOLDER}index.age`
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
  /** The epoch that new bytes are sealed to; another one when an epoch begins. */
  readonly current: Epoch
  /** @throws CoreError integrity for an epoch that is not in the keyring */
  epoch(number: number): Epoch
  /** A key for equality or search tokens; the same for all epochs. */
  indexKey(purpose: IndexPurpose): KeyObject
  /** A key for what the server signs for itself; the same for all epochs. */
  signingKey(purpose: 'link'): KeyObject
}

/** The keyring as those see it who make epochs, follow them and let them go. */
export interface EpochKeyring extends Keyring {
  /** Public half and kind of the root key. */
  readonly root: { readonly recipient: string; readonly kind: KeyKind }
  has(number: number): boolean
  /** Epochs whose keys lie in the store, opened or not. */
  stored(): Promise<number[]>
  /** Puts the keys of a new epoch into the store. */
  create(number: number, kind: KeyKind): Promise<void>
  /** Opens the keys of an epoch, unless they are open. @throws KeyringError */
  load(number: number): Promise<void>
  /** From now on new bytes are sealed to this epoch, which is loaded. */
  use(number: number): void
  /** Forgets the opened keys of an epoch that is not the current one. */
  forget(number: number): void
  /** Removes the keys of an epoch from the store; with them whatever they seal is lost. */
  remove(number: number): Promise<void>
}

/** A keyring that the root key does not open, or that is not there; the message says which. */
export class KeyringError extends Error {
  override name = 'KeyringError'
}

/** Makes the keyring of a new store. Safe to repeat when it was interrupted. */
export async function createKeyring(store: BlobStore, root: Identity): Promise<void> {
  await putEntry(store, [root], INDEX_SECRET, newSecret())
  await createEpoch(store, root, 1, root.kind)
}

/** Puts the keys of an epoch into the store. */
export async function createEpoch(
  store: BlobStore,
  root: Identity,
  number: number,
  kind: KeyKind,
): Promise<void> {
  const { identity, columns } = namesOf(number)
  await putEntry(store, [root], columns, newSecret())
  // The identity comes last: an epoch exists when its identity does.
  await putEntry(store, [root], identity, `${generateIdentity(kind)}`)
}

/**
 * Opens all of the keyring; its newest epoch is the current one until `use` says otherwise.
 *
 * @throws KeyringError when the keyring is missing, damaged, or sealed to another root key
 */
export async function openKeyring(store: BlobStore, root: Identity): Promise<EpochKeyring> {
  const numbers = await epochsIn(store)
  const epochs = new Map<number, Epoch>()
  for (const number of numbers) {
    try {
      epochs.set(number, await openEpoch(store, root, number))
    } catch (error) {
      // One may have been dropped since they were listed.
      if ((await epochsIn(store)).includes(number)) throw error
    }
  }
  if (epochs.size === 0) throw new KeyringError('the keyring is missing')
  let current = [...epochs.values()].at(-1) as Epoch

  const indexSecret = await getSecret(store, root, INDEX_SECRET)
  const indexKeys = new Map<IndexPurpose, KeyObject>()
  for (const purpose of ['email', 'name_search', 'address'] as const) {
    indexKeys.set(purpose, derive(indexSecret, `index/${purpose}`))
  }
  const linkKey = derive(indexSecret, 'signing/link')

  function epoch(number: number): Epoch {
    const known = epochs.get(number)
    if (!known) throw new CoreError('integrity', `epoch ${number} is not in the keyring`)
    return known
  }

  return {
    get current() {
      return current
    },
    epoch,
    indexKey: (purpose) => indexKeys.get(purpose) as KeyObject,
    signingKey: () => linkKey,
    root: { recipient: `${root.recipient}`, kind: root.kind },
    has: (number) => epochs.has(number),
    stored: () => epochsIn(store),
    create: (number, kind) => createEpoch(store, root, number, kind),
    async load(number) {
      if (!epochs.has(number)) epochs.set(number, await openEpoch(store, root, number))
    },
    use(number) {
      current = epoch(number)
    },
    forget(number) {
      if (number !== current.number) epochs.delete(number)
    },
    async remove(number) {
      const { identity, columns } = namesOf(number)
      // One after the other, each durable: an identity without its columns is a damaged keyring.
      await store.remove([identity])
      await store.remove([columns])
    },
  }
}

/**
 * Seals each entry of the keyring anew, in its place, for all of `roots`. An entry is replaced as a
 * whole: whenever this is interrupted, `root` opens each of them, if it is one of `roots`.
 *
 * @param root opens the entries as they are
 * @throws KeyringError
 */
export async function resealKeyring(
  store: BlobStore,
  root: Identity,
  roots: readonly Identity[],
): Promise<void> {
  const names = [INDEX_SECRET]
  for (const number of await epochsIn(store)) names.push(...Object.values(namesOf(number)))
  for (const name of names) {
    await putEntry(store, roots, name, await getEntry(store, root, name))
  }
}

function namesOf(number: number): { identity: string; columns: string } {
  return {
    identity: `${KEYRING_FOLDER}${number}.age`,
    columns: `${KEYRING_FOLDER}${number}.columns.age`,
  }
}

/** In ascending order. */
async function epochsIn(store: BlobStore): Promise<number[]> {
  const numbers: number[] = []
  for await (const { name } of store.list(KEYRING_FOLDER)) {
    const number = /^keyring\/([1-9][0-9]*)\.age$/.exec(name)?.[1]
    if (number) numbers.push(Number(number))
  }
  return numbers.sort((one, other) => one - other)
}

async function openEpoch(store: BlobStore, root: Identity, number: number): Promise<Epoch> {
  const names = namesOf(number)
  const identity = await getIdentity(store, root, names.identity)
  const columns = await getSecret(store, root, names.columns)
  return { number, identity, columnKey: derive(columns, 'columns') }
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
 * otherwise plant an epoch of his own for all that is stored from then on. While the root key changes
 * an entry is sealed for two roots and has a comment for each.
 */

async function putEntry(
  store: BlobStore,
  roots: readonly Identity[],
  name: string,
  value: string,
): Promise<void> {
  const lines = [...roots.map((root) => authentication(root, name, value)), value]
  const recipients = roots.map((root) => root.recipient)
  await store.replace(name, seal(recipients, Buffer.from(`${lines.join('\n')}\n`)))
}

async function getEntry(store: BlobStore, root: Identity, name: string): Promise<string> {
  const lines = Buffer.from(await getSealed(store, root, name))
    .toString('utf8')
    .split('\n')
  const value = lines.find((line) => !line.startsWith('#')) ?? ''
  const wanted = authentication(root, name, value)
  if (!lines.some((line) => equalSecrets(line, wanted))) {
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
    return open([root], await readObject(store, name, LARGEST_OBJECT))
  } catch (error) {
    if (error instanceof SealError && error.code === 'no_match') {
      throw new KeyringError(`the root key does not open ${name}`, { cause: error })
    }
    throw new KeyringError(`${name} is missing or damaged`, { cause: error })
  }
}
