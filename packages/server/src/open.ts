import type { Identity } from '@holdfast/seal'
import type { Config } from './config.ts'
import { BLOB_FOLDER } from './core/blobs/blobs.ts'
import type { BlobStore } from './core/blobs/store.ts'
import { type Core, createCore } from './core/core.ts'
import type { Database } from './core/database.ts'
import { failpoint } from './core/failpoints.ts'
import { FOLLOW_EVERY_MS } from './core/keys/epochs.ts'
import { createKeyring, openKeyring } from './core/keys/keyring.ts'
import { openDiskStore } from './store/blobs/disk.ts'
import { migrate, SCHEMA_VERSION, schemaVersion } from './store/database/migrate.ts'
import { databaseExists, openCommandDatabase, openServerDatabase } from './store/database/sqlite.ts'
import { type Files, nodeFiles } from './store/files.ts'
import {
  FolderError,
  folderPaths,
  lockFolder,
  lockKeys,
  readMarker,
  type VolumeMarker,
  writeMarker,
} from './store/folder.ts'
import { createRootKey, RootKeyError, readRootKey } from './store/root-key.ts'

/** An opened store. */
export interface Opened {
  readonly core: Core
  /** Whether this start made the root key. */
  readonly madeRootKey: boolean
  close(): Promise<void>
}

/**
 * Opens the store for the server: takes the folder's lock, makes what a new store needs, migrates.
 * A wrong or missing key is found out here, before anything is served.
 *
 * @param onFailure told of failures after which nothing may be acknowledged any more
 * @param files through which objects are kept
 * @throws FolderError, RootKeyError, KeyringError
 */
export async function openForServer(
  config: Config,
  clock: () => number,
  onFailure: (error: Error) => void,
  files: Files = nodeFiles,
): Promise<Opened> {
  const unlock = await lockFolder(config.data)
  try {
    await failpoint('start.locked')
    let marker = await readMarker(config.data)
    const known = await readRootKey(config.rootKeyFile, config.data)
    if (!known && marker) throw missingKey(config, marker)
    const root = known ?? (await createRootKey(config.rootKeyFile, config.recipient))
    await failpoint('start.key-read')
    marker ??= await writeMarker(config.data, root.recipient.toString())
    refuseOtherKey(root, marker)
    await failpoint('start.marked')

    const store = await openDiskStore(config.data, files)
    const file = folderPaths(config.data).database
    if (!databaseExists(file)) await prepareNewStore(store, root)
    const keyring = await openKeyring(store, root)
    await failpoint('start.keyring-opened')
    await store.clearUnfinished()
    const database = await openServerDatabase(file, migrate, onFailure)
    const core = createCore({ database, store, keyring, clock, ...config })
    try {
      await bindToVolume(database, marker, store)
      await core.epochs.start()
      await failpoint('start.bound')
    } catch (error) {
      await database.close()
      throw error
    }
    return {
      core,
      madeRootKey: known === undefined,
      async close() {
        await database.close()
        unlock()
      },
    }
  } catch (error) {
    unlock()
    throw error
  }
}

/**
 * Opens the store for a command, beside a running server or without one. Creates and migrates nothing.
 *
 * @throws FolderError, RootKeyError, KeyringError
 */
export async function openForCommand(config: Config, clock: () => number): Promise<Opened> {
  const marker = await markerOf(config)
  const root = await rootKeyOf(config, marker)
  const store = await openDiskStore(config.data)
  const keyring = await openKeyring(store, root)
  const database = await openCommandDatabase(folderPaths(config.data).database)
  const core = createCore({ database, store, keyring, clock, ...config })
  try {
    const version = await schemaVersion(database.read)
    if (version !== SCHEMA_VERSION) {
      throw new FolderError(
        `${config.data} has schema ${version ?? 'none'}, this program knows ${SCHEMA_VERSION}: start the server of this version once`,
      )
    }
    await core.epochs.start()
  } catch (error) {
    await database.close()
    throw error
  }
  // What fails here is told when the epoch is needed.
  const follow = () => core.epochs.follow().catch(() => undefined)
  const following = setInterval(follow, FOLLOW_EVERY_MS).unref()
  return {
    core,
    madeRootKey: false,
    close() {
      clearInterval(following)
      return database.close()
    },
  }
}

/**
 * The same for a command that changes the keyring: one at a time.
 *
 * @throws FolderError, RootKeyError, KeyringError
 */
export async function openForKeys(config: Config, clock: () => number): Promise<Opened> {
  await markerOf(config)
  const unlock = lockKeys(config.data)
  try {
    const opened = await openForCommand(config, clock)
    return {
      ...opened,
      async close() {
        await opened.close()
        unlock()
      },
    }
  } catch (error) {
    unlock()
    throw error
  }
}

/** The marker of a store that is there. @throws FolderError */
export async function markerOf(config: Config): Promise<VolumeMarker> {
  const marker = await readMarker(config.data)
  if (marker && databaseExists(folderPaths(config.data).database)) return marker
  throw new FolderError(`there is no store in ${config.data}: start the server once`)
}

/** The root key that a marker names. @throws RootKeyError when the key file holds another or is missing */
export async function rootKeyOf(config: Config, marker: VolumeMarker): Promise<Identity> {
  const root = await readRootKey(config.rootKeyFile, config.data)
  if (!root) throw missingKey(config, marker)
  refuseOtherKey(root, marker)
  return root
}

/** The keyring of a store without a database: new, or interrupted before its first database. */
async function prepareNewStore(store: BlobStore, root: Identity): Promise<void> {
  await refuseBlobs(store)
  for await (const { name } of store.list('keyring/')) if (name === 'keyring/1.age') return
  await createKeyring(store, root)
}

/** A database that knows no blob would give them all to the sweep. */
async function refuseBlobs(store: BlobStore): Promise<void> {
  for await (const _ of store.list(BLOB_FOLDER)) {
    throw new FolderError('the data folder holds blobs but no database: restore holdfast.db')
  }
}

/** A database that was copied in from another store would not know this folder's blobs. */
async function bindToVolume(
  database: Database,
  marker: VolumeMarker,
  store: BlobStore,
): Promise<void> {
  const key = 'volume'
  const row = await database.read
    .selectFrom('meta')
    .select('value')
    .where('key', '=', key)
    .executeTakeFirst()
  if (!row) {
    await refuseBlobs(store)
    await database.write((writer) =>
      writer.insertInto('meta').values({ key, value: marker.volume }).execute(),
    )
  } else if (row.value !== marker.volume) {
    throw new FolderError('the database and the volume marker belong to different stores')
  }
}

function missingKey(config: Config, marker: VolumeMarker): RootKeyError {
  return new RootKeyError(
    `the root key ${config.rootKeyFile} is missing; this store needs the one of ${marker.root}`,
  )
}

function refuseOtherKey(root: Identity, marker: VolumeMarker): void {
  if (root.recipient.toString() === marker.root) return
  throw new RootKeyError(
    `wrong root key: this is ${root.recipient}, this store needs the one of ${marker.root}`,
  )
}
