import { randomUUID } from 'node:crypto'
import { fstatSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import {
  type BlobStore,
  type ObjectEntry,
  type ObjectReader,
  type ObjectWriter,
  QUARANTINE_FOLDER,
  TRASH_FOLDER,
} from '../../core/blobs/store.ts'
import { CoreError } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoints.ts'
import { free } from '../../core/memory.ts'
import { type Files, nodeFiles } from '../files.ts'
import { syncFolder } from '../sync-folder.ts'

/**
 * A sealed chunk each. Where the kernel makes pages as large as what is written at once, a MiB at a time
 * took up to a third more processor time for an upload (`docs/performance.md`).
 */
const GROUP_BYTES = 64 * 1024
const WRITES_IN_FLIGHT = 2
/** Synced on the way while more comes: the last sync of a large file then has little left to do. */
const SYNC_BYTES = 16 * 1024 * 1024

/**
 * Objects as files below a folder. The way to durable: a new file in `tmp/` of the same file system,
 * `fdatasync`, rename to its name, `fsync` of the folder.
 */
export async function openDiskStore(root: string, files: Files = nodeFiles): Promise<BlobStore> {
  const unfinished = join(root, 'tmp')
  const trash = join(root, TRASH_FOLDER)
  const quarantine = join(root, QUARANTINE_FOLDER)
  const knownFolders = new Set<string>()
  /** Unfinished files of this process. */
  const own = new Set<string>()

  /** Makes a folder and its parents, each durable in its own parent. */
  async function ensureFolder(folder: string): Promise<void> {
    if (knownFolders.has(folder)) return
    if (folder !== root) await ensureFolder(dirname(folder))
    await files.mkdir(folder, { mode: 0o700 }).catch(ignore('EEXIST'))
    if (folder !== root) await syncFolder(dirname(folder), files)
    knownFolders.add(folder)
  }

  /** Renames an object into a folder, under a name of its own. */
  async function setAside(name: string, folder: string): Promise<void> {
    const target = join(root, name)
    await ensureFolder(folder)
    // Somebody may have removed it since it was listed.
    const kept = join(folder, `${basename(name)}.${randomUUID()}`)
    await files.rename(target, kept).catch(ignore('ENOENT'))
    await failpoint('object.trashed')
    // The new name first: an object must not be without any.
    await syncFolder(folder, files)
    await syncFolder(dirname(target), files).catch(ignore('ENOENT'))
  }

  async function* entriesBelow(folder: string): AsyncGenerator<ObjectEntry> {
    for await (const file of filesBelow(files, folder)) {
      const found = await files.stat(file).catch(ignore('ENOENT'))
      if (!found) continue
      yield { name: relative(root, file), size: found.size, changedAt: found.ctimeMs }
    }
  }

  /** Removes the files of a folder whose last change was before `before`; answers how many. */
  async function removeBefore(
    folder: string,
    before: number,
    removedOne: () => Promise<void> | undefined,
  ): Promise<number> {
    let removed = 0
    for await (const { name, changedAt } of entriesBelow(folder)) {
      if (changedAt >= before || own.has(join(root, name))) continue
      await files.unlink(join(root, name)).catch(ignore('ENOENT'))
      await removedOne()
      removed += 1
    }
    return removed
  }

  async function create(name: string): Promise<ObjectWriter> {
    const target = join(root, name)
    const temporary = join(unfinished, randomUUID())
    await ensureFolder(unfinished)
    await ensureFolder(dirname(target))
    own.add(temporary)
    return createWriter(files, temporary, target, () => own.delete(temporary))
  }

  return {
    // A file system's own limit is beyond all that is sent.
    largestObject: undefined,
    writerGrace: 0,

    create: (name) => translating(() => create(name)),

    replace: (name, bytes) =>
      translating(async () => {
        const writer = await create(name)
        await writer.write([bytes])
        await writer.commit()
      }),

    open: (name) => translating(() => openReader(files, join(root, name))),

    remove: (names) =>
      translating(async () => {
        const folders = new Set<string>()
        for (const name of names) {
          const target = join(root, name)
          await files.unlink(target).catch(ignore('ENOENT'))
          await failpoint('object.removed')
          folders.add(dirname(target))
        }
        for (const folder of folders) await syncFolder(folder, files).catch(ignore('ENOENT'))
      }),

    list: (prefix) => entriesBelow(join(root, prefix)),

    moveToTrash: (name) => translating(() => setAside(name, trash)),
    // A rename sets the change time, which is when the object went to the trash.
    emptyTrash: (before) =>
      translating(() => removeBefore(trash, before, () => failpoint('trash.removed'))),
    quarantine: (name) => translating(() => setAside(name, quarantine)),

    restore: (from, name) =>
      translating(async () => {
        const source = join(root, from)
        const target = join(root, name)
        await ensureFolder(dirname(target))
        try {
          // Unlike a rename this never replaces a file.
          await files.link(source, target)
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException
          if (code === 'EEXIST' || code === 'ENOENT') return false
          throw error
        }
        await syncFolder(dirname(target), files)
        await failpoint('object.restored')
        await files.unlink(source)
        return true
      }),

    unfinished: () => entriesBelow(unfinished),
    clearUnfinished: (before = Number.POSITIVE_INFINITY) =>
      translating(() => removeBefore(unfinished, before, () => failpoint('unfinished.removed'))),

    check: () =>
      translating(async () => {
        await files.stat(root)
      }),

    async close() {},
  }
}

/**
 * @param temporary where the bytes go until they are whole
 * @param target their name afterwards
 * @param end called when nothing is at `temporary` any more
 */
async function createWriter(
  files: Files,
  temporary: string,
  target: string,
  end: () => void,
): Promise<ObjectWriter> {
  const file = await files.open(temporary, 'wx', 0o600)
  const inFlight = new Set<Promise<void>>()
  let group: Uint8Array[] = []
  let groupBytes = 0
  let position = 0
  let unsynced = 0
  let syncing: Promise<void> | undefined
  let failure: unknown
  let named = false
  await failpoint('object.created')

  function flush(): void {
    const pieces = group
    const start = position
    position += groupBytes
    group = []
    groupBytes = 0
    const write = writeAll(file, pieces, start)
      .then(() => pieces.forEach(free))
      .catch((error: unknown) => {
        failure ??= error
      })
      .finally(() => inFlight.delete(write))
    inFlight.add(write)
    unsynced += position - start
    if (unsynced >= SYNC_BYTES && !syncing) syncOnTheWay()
  }

  function syncOnTheWay(): void {
    unsynced = 0
    syncing = file
      .datasync()
      // The system tells a failure once: a later sync that succeeds would prove nothing.
      .catch((error: unknown) => {
        failure ??= error
      })
      .finally(() => {
        syncing = undefined
      })
  }

  async function settled(): Promise<void> {
    await Promise.all([...inFlight, syncing])
    if (failure) throw failure
  }

  return {
    write: (pieces) =>
      translating(async () => {
        for (const piece of pieces) {
          group.push(piece)
          groupBytes += piece.byteLength
        }
        if (groupBytes < GROUP_BYTES) return
        flush()
        await failpoint('object.writing')
        if (inFlight.size >= WRITES_IN_FLIGHT) await Promise.race(inFlight)
        if (failure) throw failure
      }),

    commit: () =>
      translating(async () => {
        if (groupBytes > 0) flush()
        await settled()
        await failpoint('object.written')
        await file.datasync()
        await failpoint('object.synced')
        await file.close()
        await files.rename(temporary, target)
        named = true
        end()
        await failpoint('object.renamed')
        await syncFolder(dirname(target), files)
        await failpoint('object.durable')
      }),

    async abort() {
      await Promise.all([...inFlight, syncing])
      await file.close().catch(() => undefined)
      // What a failing disk does not give up now goes at the next start, or with a sweep.
      await files.unlink(named ? target : temporary).catch(() => undefined)
      end()
    },
  }
}

async function openReader(files: Files, path: string): Promise<ObjectReader> {
  const file = await files.open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new CoreError('file_not_found', 'no such object')
    throw error
  })
  try {
    // Known to the system once the file is open: this waits for no disk, and a turn of the thread pool costs more.
    const { size } = fstatSync(file.fd)
    return {
      size,
      read: (offset, length) => translating(() => readExactly(file, offset, length)),
      close: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function readExactly(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, offset + filled)
    if (bytesRead === 0) throw new CoreError('integrity', 'a stored object is too short')
    filled += bytesRead
  }
  return bytes
}

/** Writes every byte: a disk that fills up may take only some of them at first. */
async function writeAll(file: FileHandle, pieces: Uint8Array[], position: number): Promise<void> {
  let rest = pieces
  let at = position
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest, at)
    at += bytesWritten
    rest = dropBytes(rest, bytesWritten)
  }
}

function dropBytes(pieces: Uint8Array[], count: number): Uint8Array[] {
  let left = count
  for (const [index, piece] of pieces.entries()) {
    if (left < piece.byteLength) return [piece.subarray(left), ...pieces.slice(index + 1)]
    left -= piece.byteLength
  }
  return []
}

async function* filesBelow(files: Files, folder: string): AsyncGenerator<string> {
  const entries = await files.opendir(folder).catch(ignore('ENOENT'))
  if (!entries) return
  for await (const entry of entries) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* filesBelow(files, path)
    else yield path
  }
}

function ignore(code: string): (error: NodeJS.ErrnoException) => undefined {
  return (error) => {
    if (error.code !== code) throw error
  }
}

const FULL = new Set(['ENOSPC', 'EDQUOT'])

/** Runs file work and turns the operating system's errors into the core's. */
async function translating<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (error instanceof CoreError || code === undefined) throw error
    if (FULL.has(code)) throw new CoreError('storage_full', 'no space left', { cause: error })
    throw new CoreError('storage_unavailable', `the blob folder answered ${code}`, { cause: error })
  }
}
