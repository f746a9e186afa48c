/** Where objects lie that nobody refers to, each as `<last part of its name>.<something unique>`. */
export const TRASH_FOLDER = 'trash/'
/** Where objects lie that are not what they should be, named in the same way. */
export const QUARANTINE_FOLDER = 'quarantine/'

/**
 * Where sealed objects are kept: a folder on a disk, or a bucket. Names are slash-separated paths of
 * lower-case letters, digits, dots and dashes; an object is written once and never changed, but for
 * the few that `replace` writes.
 */
export interface BlobStore {
  /** Bytes of the largest object that it takes; undefined where there is no limit. */
  readonly largestObject: number | undefined
  /**
   * Milliseconds for which an object that no row names may still be wanted by another process that
   * writes to the same place; 0 where there is none.
   */
  readonly writerGrace: number
  /** Begins a new object. Nothing is visible under `name` before `commit`. */
  create(name: string): Promise<ObjectWriter>
  /** Writes a small object, in the place of one that may be there: one of them is, at every moment. */
  replace(name: string, bytes: Uint8Array): Promise<void>
  /** @throws CoreError file_not_found when there is no object of that name */
  open(name: string): Promise<ObjectReader>
  /** Removes objects; those that are gone already are no error. Durable when it settles. */
  remove(names: readonly string[]): Promise<void>
  /** Every object below `prefix`, in no order; also below `trash/` and `quarantine/`. */
  list(prefix: string): AsyncIterable<ObjectEntry>
  /**
   * Takes an object away from its name but keeps it until `emptyTrash` (for objects nobody refers to).
   * One that is gone meanwhile is no error.
   */
  moveToTrash(name: string): Promise<void>
  /** Removes for good what went to the trash before `before`; answers how many. */
  emptyTrash(before: number): Promise<number>
  /**
   * Takes an object away from its name and keeps it for good, for objects that are not what they
   * should be. One that is gone meanwhile is no error.
   */
  quarantine(name: string): Promise<void>
  /**
   * Gives an object from `trash/` or `quarantine/` a name, durably; never in the place of another.
   *
   * @returns whether it has the name now
   */
  restore(setAside: string, name: string): Promise<boolean>
  /** What unfinished writers hold or left; the names are the store's own. */
  unfinished(): AsyncIterable<ObjectEntry>
  /**
   * Removes what unfinished writers of other processes left, and only what was written to last before
   * `before` if that is given; answers how many.
   */
  clearUnfinished(before?: number): Promise<number>
  /** @throws CoreError storage_unavailable when the place cannot be reached */
  check(): Promise<void>
  close(): Promise<void>
}

export interface ObjectWriter {
  /** Appends pieces in order and takes ownership of them. Settles when more may be handed over. */
  write(pieces: readonly Uint8Array[]): Promise<void>
  /** Makes the object durable and visible. */
  commit(): Promise<void>
  /** Forgets the object; safe at any time before `commit`. */
  abort(): Promise<void>
}

export interface ObjectReader {
  /** Bytes. */
  readonly size: number
  /** Exactly `length` bytes from `offset`. @throws CoreError integrity when the object is shorter */
  read(offset: number, length: number): Promise<Uint8Array>
  close(): Promise<void>
}

export interface ObjectEntry {
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Milliseconds since the epoch. */
  readonly changedAt: number
}

/**
 * A small object, or its beginning.
 *
 * @param most bytes
 * @throws CoreError file_not_found when there is no object of that name
 */
export async function readObject(
  store: BlobStore,
  name: string,
  most = Number.POSITIVE_INFINITY,
): Promise<Uint8Array> {
  const object = await store.open(name)
  try {
    return await object.read(0, Math.min(object.size, most))
  } finally {
    await object.close()
  }
}
