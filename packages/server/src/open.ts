import type { Identity } from '@holdfast/seal'
import type { Config } from './config.ts'
import { BLOB_FOLDER } from './core/blobs/names.ts'
import type { BlobStore } from './core/blobs/store.ts'
import { followClock, type SharedClock } from './core/clock.ts'
import { type Core, createCore } from './core/core.ts'
import type { Database } from './core/database.ts'
import { failpoint } from './core/failpoints.ts'
import { FOLLOW_EVERY_MS } from './core/keys/epochs.ts'
import { createKeyring, openKeyring } from './core/keys/keyring.ts'
import { readMeta } from './core/meta.ts'
import type { PreviewKind } from './core/previews/formats.ts'
import { openDiskStore } from './store/blobs/disk.ts'
import type { Observe } from './store/blobs/s3/attempts.ts'
import { placeName } from './store/blobs/s3/place.ts'
import { requireEmpty } from './store/blobs/volume.ts'
import { SCHEMA_VERSION, schemaVersion } from './store/database/migrate.ts'
import { type DatabasePlace, postgresPlace, sqlitePlace } from './store/database/place.ts'
import { type Files, nodeFiles } from './store/files.ts'
import { FolderError, folderPaths, type VolumeMarker } from './store/folder.ts'
import { refuseMovedObjects, refuseMovedRows, VOLUME } from './store/move-notes.ts'
import { createRootKey, RootKeyError, readRootKey } from './store/root-key.ts'
import { folderVolume, type Release, sharedVolume, type Volume } from './store/volume.ts'

/** An opened store. */
export interface Opened {
  readonly core: Core
  /** Whether this start made the root key. */
  readonly madeRootKey: boolean
  /** Whether a server uses it. */
  readonly served: boolean
  close(): Promise<void>
}

/** What a start may be given besides. */
export interface StartOptions {
  /** Through which objects on a disk are kept. */
  readonly files?: Files
  /** Told of every request to a bucket. */
  readonly observe?: Observe
  /** What this process makes previews of. */
  readonly previewKinds?: readonly PreviewKind[]
  /** Told, in words, what the start waits for if it has to. */
  readonly onWait?: (what: string) => void
}

/**
 * Opens the store for the server: takes its lock, makes what a new store needs, migrates. A wrong or
 * missing key is found out here, before anything is served. Where servers share the store they start
 * one after the other.
 *
 * @param onFailure told of failures after which nothing may be acknowledged any more
 * @throws FolderError, DatabaseError, RootKeyError, KeyringError, BucketError
 */
export async function openForServer(
  config: Config,
  clock: () => number,
  onFailure: (error: Error) => void,
  options: StartOptions = {},
): Promise<Opened> {
  const { files, observe, previewKinds = [], onWait = () => undefined } = options
  const volume = volumeOf(config, files, observe)
  let lost: Error | undefined
  const unlock = await volume.lockForServer(onWait, (error) => {
    lost = error
  })
  const opened: { close(): Promise<void> }[] = [volume]
  async function close(): Promise<void> {
    for (const each of opened.reverse()) await each.close()
    await unlock()
  }
  try {
    await failpoint('start.locked')
    let marker = await volume.marker()
    const place = databasePlaceOf(config)
    const isNew = await place.isNew()
    if (!marker && !isNew) {
      throw new FolderError(
        `${place.name} belongs to a store, but ${volume.name} is empty: ${volume.doubt}`,
      )
    }
    const store = await volume.store()
    // Before a root key is made for nothing.
    if (config.blobs && !marker) await requireEmpty(store)
    const known = await readRootKey(config.rootKeyFile, volume.folder)
    if (!known && marker) throw missingKey(config, marker)
    const root = known ?? (await createRootKey(config.rootKeyFile, config.recipient))
    await failpoint('start.key-read')
    marker ??= await volume.create(root.recipient.toString())
    refuseOtherKey(root, marker)
    await failpoint('start.marked')

    await volume.join(marker, isNew)
    if (isNew) await prepareNewStore(store, root, place)
    const keyring = await openKeyring(store, root)
    await failpoint('start.keyring-opened')
    // Who else writes into a bucket is found out by a job.
    if (!config.blobs) await store.clearUnfinished()
    const database = await place.openForServer(onFailure)
    opened.push(database)
    const shared = volume.isShared ? await sharedClockOf(database) : undefined
    const core = createCore({
      ...{ database, store, keyring, ...config, previewKinds },
      clock: shared?.read ?? clock,
      sharedClock: shared,
    })
    await bindToVolume(database, marker, store, place)
    await core.epochs.start()
    const { processes } = core
    if (processes) {
      await processes.join()
      // If that fails it is taken for dead in time.
      opened.push({ close: () => processes.leave().catch(() => undefined) })
      // Another one may have made other keys meanwhile, or changed the schema.
      if (lost) throw new FolderError(`a lock is lost: ${lost.message}. Start again`)
      await unlock()
    }
    await failpoint('start.bound')
    return { core, madeRootKey: known === undefined, served: true, close }
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * What says which store the settings mean, and who works on it.
 *
 * @param openObjects another way than that of a store that is to be used
 */
export function volumeOf(
  config: Config,
  files: Files = nodeFiles,
  observe?: Observe,
  openObjects = openStore,
): Volume {
  const open = () => openObjects(config, files, observe)
  const { data, blobs, postgres } = config
  return blobs && postgres
    ? sharedVolume(placeName(blobs), postgres, open)
    : folderVolume(data, open, blobs !== undefined)
}

/** The time by which all processes on a database go. */
async function sharedClockOf(database: Database): Promise<SharedClock> {
  const { postgresTime } = await import('./store/database/postgres.ts')
  return followClock(() => postgresTime(database.read))
}

/**
 * Where a store keeps its blobs and keyring: in its data folder, or in a bucket.
 *
 * @throws BucketError, FolderError when they were moved away
 */
export async function openStore(
  config: Config,
  files: Files = nodeFiles,
  observe?: Observe,
): Promise<BlobStore> {
  const store = await openStorePlace(config, files, observe)
  try {
    await refuseMovedObjects(store)
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}

/** The same, whether or not it is to be served. @throws BucketError */
export async function openStorePlace(
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
  const volume = volumeOf(config)
  const opened: { close(): Promise<void> }[] = [volume]
  async function close(): Promise<void> {
    for (const each of opened.reverse()) await each.close()
  }
  try {
    const marker = await markerOf(config, volume)
    const root = await rootKeyOf(config, volume, marker)
    const store = await volume.store()
    await volume.join(marker, false)
    const keyring = await openKeyring(store, root)
    const database = await databasePlaceOf(config).openForCommand()
    opened.push(database)
    const shared = volume.isShared ? await sharedClockOf(database) : undefined
    const core = createCore({
      ...{ database, store, keyring, ...config },
      clock: shared?.read ?? clock,
    })
    await refuseOtherSchema(database)
    await isBound(database, marker)
    await core.epochs.start()
    // What fails here is told when the epoch is needed.
    const follow = () => core.epochs.follow().catch(() => undefined)
    const following = setInterval(follow, FOLLOW_EVERY_MS).unref()
    opened.push({ close: async () => clearInterval(following) })
    return { core, madeRootKey: false, served: await volume.isServed(), close }
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * The same for a command that changes the keyring: one at a time.
 *
 * @param onLost told when others may change it too: the process should end
 * @throws FolderError, RootKeyError, KeyringError
 */
export async function openForKeys(
  config: Config,
  clock: () => number,
  onLost: (error: Error) => void,
): Promise<Opened> {
  const volume = volumeOf(config)
  let unlock: Release | undefined
  try {
    await markerOf(config, volume)
    unlock = await volume.lockKeys(onLost)
    const opened = await openForCommand(config, clock)
    return {
      ...opened,
      async close() {
        await opened.close()
        await unlock?.()
      },
    }
  } catch (error) {
    await unlock?.()
    throw error
  } finally {
    await volume.close()
  }
}

/** Where a store keeps its rows: in its data folder, or in PostgreSQL. */
export function databasePlaceOf({ data, postgres }: Config): DatabasePlace {
  return postgres
    ? postgresPlace(postgres, postgres.connections)
    : sqlitePlace(folderPaths(data).database)
}

/** The marker of a store that is there. @throws FolderError */
export async function markerOf(config: Config, volume: Volume): Promise<VolumeMarker> {
  const marker = await volume.marker()
  if (marker && !(await databasePlaceOf(config).isNew())) return marker
  throw new FolderError(`there is no store in ${volume.name}: start the server once`)
}

/** The root key that a marker names. @throws RootKeyError when the key file holds another or is missing */
export async function rootKeyOf(
  config: Config,
  volume: Volume,
  marker: VolumeMarker,
): Promise<Identity> {
  const root = await readRootKey(config.rootKeyFile, volume.folder)
  if (!root) throw missingKey(config, marker)
  refuseOtherKey(root, marker)
  return root
}

export async function refuseOtherSchema(database: Database): Promise<void> {
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

/** Binds a new database to its store. */
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
 * @returns whether a server has bound the database to the store yet
 * @throws FolderError for one that was copied in from another store: it would not know this one's blobs
 */
async function isBound(database: Database, marker: VolumeMarker): Promise<boolean> {
  await refuseMovedRows(database.read)
  return isOfVolume(database, marker)
}

/** The same, whether or not it is to be served. */
export async function isOfVolume(database: Database, marker: VolumeMarker): Promise<boolean> {
  const volume = await readMeta(database.read, VOLUME)
  if (volume !== undefined && volume !== marker.volume) {
    throw new FolderError('the database and the volume marker belong to different stores')
  }
  return volume !== undefined
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
