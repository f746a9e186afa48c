import { type BlobStore, readObject } from '../../core/blobs/store.ts'
import { CoreError } from '../../core/errors.ts'
import { FolderError, parseMarker, type VolumeMarker } from '../folder.ts'

const MARKER = 'holdfast-volume.json'
/** Markers and notes are short; of anything longer the rest is not ours. */
const LARGEST_SMALL = 256 * 1024

/**
 * Makes sure that a store apart from the data folder belongs to the folder's volume.
 *
 * @throws FolderError when it is another volume's, or nobody's
 */
export async function requireSameVolume(store: BlobStore, marker: VolumeMarker): Promise<void> {
  const found = await readStoreMarker(store)
  if (!found) {
    throw new FolderError(
      'the bucket has no volume marker, but the data folder is in use: is it the right bucket and prefix?',
    )
  }
  if (found.volume === marker.volume) return
  throw new FolderError('the bucket belongs to another data folder')
}

/** Makes sure that a new volume can have the store. @throws FolderError */
export async function requireEmpty(store: BlobStore): Promise<void> {
  for await (const { name } of store.list('')) {
    throw new FolderError(
      `the bucket is no place for a new store: it holds ${name}. If it is this store's, bring back the data folder; else choose another prefix`,
    )
  }
}

/**
 * Takes an empty store for a new volume. Safe to repeat when it was interrupted.
 *
 * @throws FolderError when it is taken
 */
export async function claimStore(store: BlobStore, marker: VolumeMarker): Promise<void> {
  if (!(await readStoreMarker(store))) {
    await requireEmpty(store)
    const writer = await store.create(MARKER)
    await writer.write([Buffer.from(markerText(marker))])
    // Of two that claim it at once one is refused, here or by what it reads next. Nothing is
    // aborted: where an answer was lost that could take away what the other one has written.
    await writer.commit().catch(() => undefined)
  }
  await requireSameVolume(store, marker)
}

/** Names another root key in the store's marker, as the data folder's does. */
export async function changeStoreMarker(store: BlobStore, marker: VolumeMarker): Promise<void> {
  await store.replace(MARKER, Buffer.from(markerText(marker)))
}

/** Which volume a store belongs to; undefined when it is nobody's. @throws FolderError when that is damaged */
export async function readStoreMarker(store: BlobStore): Promise<VolumeMarker | undefined> {
  const text = await readSmall(store, MARKER)
  if (text === undefined) return undefined
  const marker = parseMarker(text)
  if (marker) return marker
  throw new FolderError(`the bucket's ${MARKER} is damaged`)
}

/** Text of a small object; undefined when there is none. */
export async function readSmall(store: BlobStore, name: string): Promise<string | undefined> {
  try {
    return Buffer.from(await readObject(store, name, LARGEST_SMALL)).toString('utf8')
  } catch (error) {
    if (error instanceof CoreError && error.code === 'file_not_found') return undefined
    throw error
  }
}

function markerText(marker: VolumeMarker): string {
  return `${JSON.stringify(marker)}\n`
}
