import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { access, constants, readdir, readFile, realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { replaceFile, UNFINISHED, writeNewFile } from './new-file.ts'
import { makeFolder } from './sync-folder.ts'

const MARKER = 'holdfast-volume.json'
const LOCK = 'server.lock'
const KEYS_LOCK = 'keys.lock'
const SQLITE_BUSY = 5
/** A command that asks whether a server is there holds the lock for a moment. */
const LOCK_WAIT_MS = 100
const FORMAT = 1

/** The marker in a data folder: says that this is a Holdfast volume, and which. */
export interface VolumeMarker {
  format: number
  volume: string
  /** The public recipient of the root key, so that a start without it can say which key is wanted. */
  root: string
}

/** A data folder that cannot be used; the message says what the operator should do. */
export class FolderError extends Error {
  override name = 'FolderError'
}

/** The path without links of a folder, whether or not it is there yet. @param folder an absolute path */
export async function realFolder(folder: string): Promise<string> {
  const parent = dirname(folder)
  if (parent === folder) return folder
  return realpath(folder).catch(async () => join(await realFolder(parent), basename(folder)))
}

/** Names of what lies in a data folder. */
export function folderPaths(data: string): { database: string; marker: string } {
  return { database: join(data, 'holdfast.db'), marker: join(data, MARKER) }
}

/**
 * The folder's marker, or undefined when the folder is missing or empty (the place for a new store).
 *
 * @throws FolderError when there is something in the folder that is no Holdfast volume of this format
 */
export async function readMarker(data: string): Promise<VolumeMarker | undefined> {
  const entries = await readdir(data).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [] as string[]
    throw error
  })
  if (entries.every(comesBeforeMarker)) return undefined
  const text = await readFile(join(data, MARKER), 'utf8').catch(() => {
    throw new FolderError(
      `${data} has no volume marker (${MARKER}). Is the right volume mounted? A new store needs an empty folder.`,
    )
  })
  const marker = parseMarker(text)
  if (!marker) throw new FolderError(`${join(data, MARKER)} is damaged`)
  if (marker.format !== FORMAT) {
    throw new FolderError(
      `${data} has format ${marker.format}; this program knows format ${FORMAT}`,
    )
  }
  return marker
}

/** What may lie in the folder of a store that was not begun, or whose first start was interrupted. */
function comesBeforeMarker(entry: string): boolean {
  return entry.startsWith(LOCK) || entry === 'lost+found' || entry === MARKER + UNFINISHED
}

/** Undefined when it is none. */
export function parseMarker(text: string): VolumeMarker | undefined {
  try {
    const { format, volume, root } = JSON.parse(text) as Partial<VolumeMarker>
    if (typeof format === 'number' && typeof volume === 'string' && typeof root === 'string') {
      return { format, volume, root }
    }
  } catch {
    // Falls through: damaged.
  }
  return undefined
}

/** Of a new volume. @param root public recipient of its root key */
export function newMarker(root: string): VolumeMarker {
  return { format: FORMAT, volume: randomUUID(), root }
}

/** Writes the marker of a new volume, durably, before anything else is kept there. */
export async function writeMarker(data: string, root: string): Promise<VolumeMarker> {
  const marker = newMarker(root)
  await writeNewFile(join(data, MARKER), `${JSON.stringify(marker)}\n`)
  return marker
}

/** Names another root key in the marker. The old marker or the new one is there at every moment. */
export async function changeMarkerRoot(
  data: string,
  marker: VolumeMarker,
  root: string,
): Promise<void> {
  await putMarker(data, { ...marker, root })
}

/** Puts a marker into a folder, in the place of one that may be there. */
export async function putMarker(data: string, marker: VolumeMarker): Promise<void> {
  await replaceFile(join(data, MARKER), `${JSON.stringify(marker)}\n`)
}

/** Whether a server holds the folder just now. */
export function isServed(data: string): boolean {
  const file = join(data, LOCK)
  if (!existsSync(file)) return false
  const lock = new DatabaseSync(file, { readOnly: true, timeout: 0 })
  try {
    lock.prepare('select count(*) from sqlite_master').get()
    return false
  } catch (error) {
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return true
    throw error
  } finally {
    lock.close()
  }
}

/** SQLite would read such a folder, and fail at its first write. */
async function refuseReadOnly(data: string): Promise<void> {
  try {
    await access(data, constants.W_OK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new FolderError(`${data} cannot be written (${code}): is the volume mounted read-only?`, {
      cause: error,
    })
  }
}

/**
 * Takes the folder for one server, making the folder when it is missing.
 *
 * @returns a function that gives the folder free
 * @throws FolderError when another server holds it, or nothing can be written there
 */
export async function lockFolder(data: string): Promise<() => void> {
  await makeFolder(data)
  await refuseReadOnly(data)
  return lock(join(data, LOCK), `another Holdfast server holds ${data}`)
}

/**
 * Takes the keyring of a folder for one command that changes it.
 *
 * @returns a function that gives it free
 * @throws FolderError when another command holds it
 */
export function lockKeys(data: string): () => void {
  return lock(join(data, KEYS_LOCK), `another command works on the keys of ${data}`)
}

/** The lock is SQLite's own on a file of its own: it dies with the process, however that ends. */
function lock(file: string, refusal: string): () => void {
  const database = new DatabaseSync(file, { timeout: LOCK_WAIT_MS })
  try {
    database.exec('begin exclusive')
  } catch (error) {
    database.close()
    throw new FolderError(refusal, { cause: error })
  }
  return () => database.close()
}
