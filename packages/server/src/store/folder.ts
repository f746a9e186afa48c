import { randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { UNFINISHED, writeNewFile } from './new-file.ts'
import { makeFolder } from './sync-folder.ts'

const MARKER = 'holdfast-volume.json'
const LOCK = 'server.lock'
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

function parseMarker(text: string): VolumeMarker | undefined {
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

/** Writes the marker of a new volume, durably, before anything else is kept there. */
export async function writeMarker(data: string, root: string): Promise<VolumeMarker> {
  const marker: VolumeMarker = { format: FORMAT, volume: randomUUID(), root }
  await writeNewFile(join(data, MARKER), `${JSON.stringify(marker)}\n`)
  return marker
}

/**
 * Takes the folder for one server, making the folder when it is missing. The lock is SQLite's own on
 * a file of its own: it dies with the process, however that ends.
 *
 * @returns a function that gives the folder free
 * @throws FolderError when another server holds it
 */
export async function lockFolder(data: string): Promise<() => void> {
  await makeFolder(data)
  const lock = new DatabaseSync(join(data, LOCK), { timeout: 0 })
  try {
    lock.exec('begin exclusive')
  } catch (error) {
    lock.close()
    throw new FolderError(`another Holdfast server holds ${data}`, { cause: error })
  }
  return () => lock.close()
}
