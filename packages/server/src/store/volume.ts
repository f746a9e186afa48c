import type { BlobStore } from '../core/blobs/store.ts'
import {
  changeStoreMarker,
  claimStore,
  readStoreMarker,
  requireSameVolume,
} from './blobs/volume.ts'
import type { LockName, LockOptions } from './database/postgres-lock.ts'
import type { PostgresAccess } from './database/postgres-pool.ts'
import {
  changeMarkerRoot,
  FolderError,
  isServed,
  lockFolder,
  lockKeys,
  newMarker,
  readMarker,
  type VolumeMarker,
  writeMarker,
} from './folder.ts'

/** A server waits for others that start, migrations included. */
const START_WAIT_MS = 600_000
/** A command is refused beside a server, and waits for one that is about to end. */
const ALONE_WAIT_MS = 5000
const KEYS_WAIT_MS = 1

/** Lets go of what is held; safe to repeat. */
export type Release = () => Promise<void>

/** What a store is known by, and who may work on it at a time. */
export interface Volume {
  /** What an operator would know it by. */
  readonly name: string
  /** Its data folder, in which the root key must not lie; undefined where it needs none. */
  readonly folder: string | undefined
  /** Whether any number of servers may work on it. */
  readonly isShared: boolean
  /** What may be wrong when something is not there that should be. */
  readonly doubt: string
  /** Its objects and keyring, opened when they are first asked for. @throws BucketError */
  store(): Promise<BlobStore>
  /** Its marker; undefined where a new store can be made. @throws FolderError, BucketError */
  marker(): Promise<VolumeMarker | undefined>
  /** Makes the marker of a new store, durably. @param root public half of its root key */
  create(root: string): Promise<VolumeMarker>
  /**
   * Makes sure that what lies apart from the marker is of the same store.
   *
   * @param isNew whether it has still to become the store's
   * @throws FolderError
   */
  join(marker: VolumeMarker, isNew: boolean): Promise<void>
  /** Names another root key in the marker. */
  changeRoot(marker: VolumeMarker, root: string): Promise<void>
  /**
   * Takes it for a server: while that runs where only one may, otherwise while that starts.
   *
   * @param onWait told, in words, what it waits for if it has to
   * @param onLost told when it is not held any more, although it was not let go
   * @throws FolderError when another one has it
   */
  lockForServer(onWait: (what: string) => void, onLost: (error: Error) => void): Promise<Release>
  /**
   * Takes it for work beside which no server may run or start.
   *
   * @param onLost as above
   * @throws FolderError when one does
   */
  lockAlone(onLost: (error: Error) => void): Promise<Release>
  /**
   * Takes the keyring for one command that changes it.
   *
   * @param onLost as above
   * @throws FolderError when another command has it
   */
  lockKeys(onLost: (error: Error) => void): Promise<Release>
  /** Whether a server works on it. */
  isServed(): Promise<boolean>
  /** Closes its objects, if they were opened. */
  close(): Promise<void>
}

/**
 * A store whose marker and locks are in a data folder, which one server has at a time.
 *
 * @param openStore opens its objects
 * @param isApart whether those lie elsewhere
 */
export function folderVolume(
  data: string,
  openStore: () => Promise<BlobStore>,
  isApart: boolean,
): Volume {
  const { store, close } = openedOnce(openStore)

  async function takeFolder(): Promise<Release> {
    const unlock = await lockFolder(data)
    return async () => unlock()
  }

  return {
    name: data,
    folder: data,
    isShared: false,
    doubt: 'is the right volume mounted?',
    store,
    marker: () => readMarker(data),
    create: (root) => writeMarker(data, root),
    async join(marker, isNew) {
      if (isApart) await (isNew ? claimStore : requireSameVolume)(await store(), marker)
    },
    async changeRoot(marker, root) {
      await changeMarkerRoot(data, marker, root)
      if (isApart) await changeStoreMarker(await store(), { ...marker, root })
    },
    lockForServer: takeFolder,
    lockAlone: takeFolder,
    async lockKeys() {
      const unlock = lockKeys(data)
      return async () => unlock()
    },
    isServed: async () => isServed(data),
    close,
  }
}

/**
 * A store whose marker is in its bucket and whose locks are in its database: no folder belongs to it,
 * and any number of servers work on it.
 *
 * @param name of the bucket
 * @param openStore opens the bucket
 */
export function sharedVolume(
  name: string,
  access: PostgresAccess,
  openStore: () => Promise<BlobStore>,
): Volume {
  const { store, close } = openedOnce(openStore)

  async function lock(which: LockName, refusal: string, options: LockOptions): Promise<Release> {
    // Loaded when there is one: its client takes memory that those with SQLite are spared.
    const { lockPostgres } = await import('./database/postgres-lock.ts')
    const taken = await lockPostgres(access, which, options)
    if (!taken) throw new FolderError(refusal)
    return taken.release
  }

  async function isHeardOf(): Promise<boolean> {
    const { postgresIsServed } = await import('./database/postgres.ts')
    return postgresIsServed(access)
  }

  return {
    name,
    folder: undefined,
    isShared: true,
    doubt: 'is it the right bucket and prefix?',
    store,
    marker: async () => readStoreMarker(await store()),
    async create(root) {
      const marker = newMarker(root)
      await claimStore(await store(), marker)
      return marker
    },
    // The marker lies in the bucket.
    join: async () => undefined,
    changeRoot: async (marker, root) => changeStoreMarker(await store(), { ...marker, root }),
    lockForServer: (onWait, onLost) =>
      lock('start', `another Holdfast server has been starting on ${name}`, {
        waitMs: START_WAIT_MS,
        onLost,
        onWait: () =>
          onWait(
            `another Holdfast server is starting on ${name}, or migrate or keys new-root works on it: this start waits for that`,
          ),
      }),
    async lockAlone(onLost) {
      const unlock = await lock(
        'start',
        `a Holdfast server is starting on ${name}, or migrate or keys new-root works on it`,
        { waitMs: ALONE_WAIT_MS, onLost },
      )
      if (!(await isHeardOf())) return unlock
      await unlock()
      throw new FolderError(
        `a Holdfast server works on ${name}, or was killed less than a minute ago`,
      )
    },
    lockKeys: (onLost) =>
      lock('keys', `another command works on the keys of ${name}`, {
        waitMs: KEYS_WAIT_MS,
        onLost,
      }),
    isServed: isHeardOf,
    close,
  }
}

function openedOnce(open: () => Promise<BlobStore>): Pick<Volume, 'store' | 'close'> {
  let opened: Promise<BlobStore> | undefined
  return {
    store() {
      opened ??= open()
      return opened
    },
    async close() {
      const store = await opened?.catch(() => undefined)
      await store?.close()
    },
  }
}
