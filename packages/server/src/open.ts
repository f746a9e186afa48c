import type { Identity } from '@holdfast/seal'
import type { Config } from './config.ts'
import { BLOB_FOLDER } from './core/blobs/blobs.ts'
import type { BlobStore } from './core/blobs/store.ts'
import { type Core, createCore } from './core/core.ts'
import type { Database } from './core/database.ts'
import { failpoint } from './core/failpoints.ts'
import { FOLLOW_EVERY_MS } from './core/keys/epochs.ts'
import { createKeyring, openKeyring } from './core/keys/keyring.ts'
import type { PreviewKind } from './core/previews/formats.ts'
import { openDiskStore } from './store/blobs/disk.ts'
import type { Observe } from './store/blobs/s3/attempts.ts'
import { claimStore, requireEmpty, requireSameVolume } from './store/blobs/volume.ts'
import { SCHEMA_VERSION, schemaVersion } from './store/database/migrate.ts'
import { type DatabasePlace, postgresPlace, sqlitePlace } from './store/database/place.ts'
import { type Files, nodeFiles } from './store/files.ts'
import {
  FolderError,
  folderPaths,
  isServed,
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
  /** Whether a server uses it. */
  readonly served: boolean
  close(): Promise<void>
}

/**
 * Opens the store for the server: takes the folder's lock, makes what a new store needs, migrates.
 * A wrong or missing key is found out here, before anything is served.
 *
 * @param onFailure told of failures after which nothing may be acknowledged any more
 * @param files through which objects on a disk are kept
 * @param observe told of every request to a bucket
 * @param previewKinds what this process makes previews of
 * @throws FolderError, DatabaseError, RootKeyError, KeyringError, BucketError
 */
export async function openForServer(
  config: Config,
  clock: () => number,
  onFailure: (error: Error) => void,
  files: Files = nodeFiles,
  observe?: Observe,
  previewKinds: readonly PreviewKind[] = [],
): Promise<Opened> {
  const unlock = await lockFolder(config.data)
  const opened: { close(): Promise<void> }[] = []
  async function close(): Promise<void> {
    for (const each of opened.reverse()) await each.close()
    unlock()
  }
  try {
    await failpoint('start.locked')
    let marker = await readMarker(config.data)
    const place = databasePlaceOf(config)
    const isNew = await place.isNew()
    if (!marker && !isNew) {
      throw new FolderError(
        `${place.name} belongs to a store, but ${config.data} is empty: is the right volume mounted?`,
      )
    }
    const store = await openStore(config, files, observe)
    opened.push(store)
    // Before a root key is made for nothing.
    if (config.blobs && !marker) await requireEmpty(store)
    const known = await readRootKey(config.rootKeyFile, config.data)
    if (!known && marker) throw missingKey(config, marker)
    const root = known ?? (await createRootKey(config.rootKeyFile, config.recipient))
    await failpoint('start.key-read')
    marker ??= await writeMarker(config.data, root.recipient.toString())
    refuseOtherKey(root, marker)
    await failpoint('start.marked')

    if (config.blobs) await (isNew ? claimStore : requireSameVolume)(store, marker)
    if (isNew) await prepareNewStore(store, root, place)
    const keyring = await openKeyring(store, root)
    await failpoint('start.keyring-opened')
    // Who else writes into a bucket is found out by a job.
    if (!config.blobs) await store.clearUnfinished()
    const database = await place.openForServer(onFailure)
    opened.push(database)
    const core = createCore({ database, store, keyring, clock, ...config, previewKinds })
    await bindToVolume(database, marker, store, place)
    await core.epochs.start()
    await failpoint('start.bound')
    return { core, madeRootKey: known === undefined, served: true, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Where a store keeps its blobs and keyring: in its data folder, or in a bucket. @throws BucketError */
export async function openStore(
  config: Config,
  files: Files = nodeFiles,
  observe?: Observe,
): Promise<BlobStore> {
  if (!config.blobs) return openDiskStore(config.data, files)
  // The client takes a quarter of a second and 30 MiB, which those without a bucket are spared.
  const { openS3Store } = await import('./store/blobs/s3/store.ts')
  return openS3Store(config.blobs, observe && { observe })
}

/**
 * Opens the store for a command, beside a running server or without one. Creates and migrates nothing.
 *
 * @throws FolderError, DatabaseError, RootKeyError, KeyringError
 */
export async function openForCommand(config: Config, clock: () => number): Promise<Opened> {
  const marker = await markerOf(config)
  const root = await rootKeyOf(config, marker)
  const opened: { close(): Promise<void> }[] = []
  async function close(): Promise<void> {
    for (const each of opened.reverse()) await each.close()
  }
  try {
    const store = await openStore(config)
    opened.push(store)
    if (config.blobs) await requireSameVolume(store, marker)
    const keyring = await openKeyring(store, root)
    const database = await databasePlaceOf(config).openForCommand()
    opened.push(database)
    const core = createCore({ database, store, keyring, clock, ...config })
    await refuseOtherSchema(database)
    await isBound(database, marker)
    await core.epochs.start()
    // What fails here is told when the epoch is needed.
    const follow = () => core.epochs.follow().catch(() => undefined)
    const following = setInterval(follow, FOLLOW_EVERY_MS).unref()
    opened.push({ close: async () => clearInterval(following) })
    return { core, madeRootKey: false, served: isServed(config.data), close }
  } catch (error) {
    await close()
    throw error
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

/** Where a store keeps its rows: in its data folder, or in PostgreSQL. */
export function databasePlaceOf({ data, postgres }: Config): DatabasePlace {
  return postgres
    ? postgresPlace(postgres, postgres.connections)
    : sqlitePlace(folderPaths(data).database)
}

/** The marker of a store that is there. @throws FolderError */
export async function markerOf(config: Config): Promise<VolumeMarker> {
  const marker = await readMarker(config.data)
  if (marker && !(await databasePlaceOf(config).isNew())) return marker
  throw new FolderError(`there is no store in ${config.data}: start the server once`)
}

/** The root key that a marker names. @throws RootKeyError when the key file holds another or is missing */
export async function rootKeyOf(config: Config, marker: VolumeMarker): Promise<Identity> {
  const root = await readRootKey(config.rootKeyFile, config.data)
  if (!root) throw missingKey(config, marker)
  refuseOtherKey(root, marker)
  return root
}

async function refuseOtherSchema(database: Database): Promise<void> {
  const version = await schemaVersion(database.read)
  if (version === SCHEMA_VERSION) return
  throw new FolderError(
    `the database has schema ${version ?? 'none'}, this program knows ${SCHEMA_VERSION}: start the server of this version once`,
  )
}

/** The keyring of a store without a database: new, or interrupted before its first database. */
async function prepareNewStore(
  store: BlobStore,
  root: Identity,
  place: DatabasePlace,
): Promise<void> {
  await refuseBlobs(store, place)
  for await (const { name } of store.list('keyring/')) if (name === 'keyring/1.age') return
  await createKeyring(store, root)
}

/** A database that knows no blob would give them all to the sweep. */
async function refuseBlobs(store: BlobStore, place: DatabasePlace): Promise<void> {
  for await (const _ of store.list(BLOB_FOLDER)) {
    throw new FolderError(`there are blobs but no database: restore ${place.name}`)
  }
}

const VOLUME = 'volume'

/** Binds a new database to its folder. */
async function bindToVolume(
  database: Database,
  marker: VolumeMarker,
  store: BlobStore,
  place: DatabasePlace,
): Promise<void> {
  if (await isBound(database, marker)) return
  await refuseBlobs(store, place)
  await database.write((writer) =>
    writer.insertInto('meta').values({ key: VOLUME, value: marker.volume }).execute(),
  )
}

/**
 * @returns whether a server has bound the database to the folder yet
 * @throws FolderError for one that was copied in from another store: it would not know this folder's blobs
 */
async function isBound(database: Database, marker: VolumeMarker): Promise<boolean> {
  const row = await database.read
    .selectFrom('meta')
    .select('value')
    .where('key', '=', VOLUME)
    .executeTakeFirst()
  if (row && row.value !== marker.volume) {
    throw new FolderError('the database and the volume marker belong to different stores')
  }
  return row !== undefined
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
