import { randomUUID } from 'node:crypto'
import type { BlobStore } from '../core/blobs/store.ts'
import type { Database, Reader, Writer } from '../core/database.ts'
import { putMeta, readMeta } from '../core/meta.ts'
import type { MovePosition } from '../core/move/objects.ts'
import { readSmall } from './blobs/volume.ts'
import { FolderError } from './folder.ts'

/*
 * A move leaves two notes, each both among the rows and among the objects, as far as these are moved:
 * at the new place that it has begun, until it is done, and at the old place that it was done. Where
 * there is one of them nothing is served.
 */
const BEGUN = 'move'
const DONE = 'moved'
const objectOf = (key: string) => `holdfast-${key}.json`

/** The row of `meta` that says whose the database is. */
export const VOLUME = 'volume'

/** At the new place: which move is on its way there. */
export interface BegunNote {
  readonly id: string
  /** Of the store that is moved. */
  readonly volume: string
  /** Beside objects: how far they have come. */
  readonly position?: MovePosition
}

/** At the old place: where everything is now. */
export interface DoneNote {
  /** Of the move. */
  readonly id: string
  /** What an operator would know the new place by; nothing secret. */
  readonly to: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

export function newNote(volume: string): BegunNote {
  return { id: randomUUID(), volume }
}

export const begunRows = (reader: Reader) => readRow<BegunNote>(reader, BEGUN)
export const begunObjects = (store: BlobStore) => readObject<BegunNote>(store, BEGUN)
export const doneRows = (reader: Reader) => readRow<DoneNote>(reader, DONE)
export const doneObjects = (store: BlobStore) => readObject<DoneNote>(store, DONE)

export const noteBegunRows = (database: Database, note: BegunNote) =>
  database.write((writer) => putMeta(writer, BEGUN, JSON.stringify(note)))
export const noteBegunObjects = (store: BlobStore, note: BegunNote) =>
  store.replace(objectOf(BEGUN), Buffer.from(`${JSON.stringify(note)}\n`))
export const noteDoneRows = (database: Database, note: DoneNote) =>
  database.write((writer) => putMeta(writer, DONE, JSON.stringify(note)))
export const noteDoneObjects = (store: BlobStore, note: DoneNote) =>
  store.replace(objectOf(DONE), Buffer.from(`${JSON.stringify(note)}\n`))

/** Whether a row of `meta` is about the place that it stands in, and goes nowhere. */
export const isNote = (key: string) => key === BEGUN || key === DONE

export const removeBegunRow = (writer: Writer) =>
  writer.deleteFrom('meta').where('key', '=', BEGUN).execute()
export const removeBegunObject = (store: BlobStore) => store.remove([objectOf(BEGUN)])

/** @throws FolderError for rows that were moved away, or that have not all arrived */
export async function refuseMovedRows(reader: Reader): Promise<void> {
  const done = await doneRows(reader)
  if (done) throw movedAway(done)
  if (await begunRows(reader)) throw unfinished('the database')
}

/** @throws FolderError for objects that were moved away */
export async function refuseMovedObjects(store: BlobStore): Promise<void> {
  const done = await doneObjects(store)
  if (done) throw movedAway(done)
}

export function unfinished(what: string): FolderError {
  return new FolderError(
    `${what} is the new place of a store whose move is not done: run holdfast migrate again`,
  )
}

export function movedAway({ to, at }: DoneNote): FolderError {
  const day = new Date(at).toISOString().slice(0, 10)
  return new FolderError(
    `this store was moved to ${to} on ${day}: set its new address (docs/operations.md, "Moving a store")`,
  )
}

async function readRow<T>(reader: Reader, key: string): Promise<T | undefined> {
  const value = await readMeta(reader, key)
  return value === undefined ? undefined : (JSON.parse(value) as T)
}

async function readObject<T>(store: BlobStore, key: string): Promise<T | undefined> {
  const text = await readSmall(store, objectOf(key))
  if (text === undefined) return undefined
  try {
    return JSON.parse(text) as T
  } catch {
    throw new FolderError(`${objectOf(key)} is damaged`)
  }
}
