import { inBatches, inLanes } from '../batches.ts'
import { BLOB_FOLDER } from '../blobs/names.ts'
import { checkPart, largestPart, readPart, type StoredPart } from '../blobs/parts.ts'
import { type BlobStore, type ObjectReader, readObject } from '../blobs/store.ts'
import { withoutRow } from '../blobs/untracked.ts'
import type { Findings, OnProgress } from '../checks/findings.ts'
import { createPartChecks, livingRows, type PartRow } from '../checks/parts.ts'
import type { Database, Reader } from '../database.ts'
import { CoreError } from '../errors.ts'
import { failpoint } from '../failpoints.ts'
import { KEYRING_FOLDER, type Keyring } from '../keys/keyring.ts'
import { free } from '../memory.ts'

/** Objects that are on their way at once, … */
const LANES = 8
/** … and how much of each is in memory. */
const STRETCH_BYTES = 1024 * 1024
/** After so many a run may remember its place. */
const GROUP = 32
const SAVE_EVERY_MS = 5000
/** Objects that are remembered for not opening; from more on the place of a run stays where it was. */
const MOST_SUSPECTS = 1000
const BATCH = 500

/** How far objects were carried over and read back, in the order of blobs and parts. */
export interface MovePosition {
  readonly blobId: string
  readonly number: number
  /** Parts up to there that did not open, as `<blob>.<number>`: they are looked at again. */
  readonly suspects: readonly string[]
}

/** What happened to objects. */
export interface MovedObjects {
  /** All that are there now. */
  readonly objects: number
  readonly bytes: number
  /** Those that this run has carried over. */
  readonly copied: { readonly objects: number; readonly bytes: number }
  /** False when it was stopped. */
  readonly isAtEnd: boolean
}

interface Stores {
  readonly source: Database
  readonly from: BlobStore
  readonly to: BlobStore
  readonly keyring: Keyring
}

interface MoveOptions {
  /** Where an interrupted run has come to. */
  readonly position: MovePosition | undefined
  /** Remembers how far this one has come. */
  keep(position: MovePosition): Promise<void>
  readonly findings: Findings
  readonly signal: AbortSignal
  readonly onProgress: OnProgress
}

/** The new place does not take or give bytes; the message says why. */
export class TargetError extends Error {
  override name = 'TargetError'
}

/** Bytes and number of all objects that rows name. */
export async function sizeOfObjects(
  reader: Reader,
): Promise<{ objects: number; bytes: number; largest: number }> {
  const { objects, bytes, largest } = await reader
    .selectFrom('blob_part')
    .innerJoin('blob', 'blob.id', 'blob_part.blob_id')
    .where('blob.state', '<>', 'deleting')
    .select((eb) => [
      eb.fn.countAll<number>().as('objects'),
      eb.fn.coalesce(eb.fn.sum<number>('sealed_size'), eb.lit(0)).as('bytes'),
      eb.fn.coalesce(eb.fn.max('plain_size'), eb.lit(0)).as('largest'),
    ])
    .executeTakeFirstOrThrow()
  return { objects, bytes, largest }
}

/** @throws TargetError when there are objects that the new place cannot take */
export async function requireRoom(reader: Reader, to: BlobStore): Promise<void> {
  const { largest } = await sizeOfObjects(reader)
  if (largest <= largestPart(to)) return
  throw new TargetError(
    `there are objects of up to ${largest} bytes, and one may have ${largestPart(to)} there`,
  )
}

/** Carries the keys over as they lie there, sealed to the root key. */
export async function moveKeyring(from: BlobStore, to: BlobStore): Promise<void> {
  const names = new Set<string>()
  for await (const { name } of from.list(KEYRING_FOLDER)) {
    names.add(name)
    const bytes = await readObject(from, name)
    const known = await readObject(to, name).catch(() => undefined)
    if (!known || Buffer.compare(known, bytes) !== 0) await onTarget(() => to.replace(name, bytes))
  }
  for await (const { name } of to.list(KEYRING_FOLDER)) {
    if (!names.has(name)) await onTarget(() => to.remove([name]))
  }
}

/**
 * Carries all objects over that rows name, as they are, reads each back, opens every chunk of it and
 * holds it against its row. What an earlier run has done is not done again, but each object is held
 * against its row by size, header and nonce. An object that does not open where it comes from is a
 * finding; what can be read of it is carried over all the same.
 *
 * @throws TargetError
 */
export async function moveObjects(stores: Stores, options: MoveOptions): Promise<MovedObjects> {
  const { source, from, to, keyring } = stores
  const { findings, signal, onProgress } = options
  const checks = createPartChecks(source, from, keyring)
  const total = (await sizeOfObjects(source.read)).bytes
  const suspects = new Set(options.position?.suspects)
  let known: Place | undefined = options.position
  let pageBefore: Place | undefined
  let savedAt = performance.now()
  let progress = 0
  let objects = 0
  let bytes = 0
  const copied = { objects: 0, bytes: 0 }

  function advance(count: number): void {
    progress += count
    onProgress('objects', Math.min(Math.round(progress), total), total, 'bytes')
  }

  async function copy(part: StoredPart): Promise<void> {
    await checkPart(from, keyring, part)
    const object = await from.open(part.object)
    try {
      await copyObject(object, to, part.object, signal, (length) => advance(length / 2))
    } finally {
      await object.close()
    }
    copied.objects += 1
    copied.bytes += part.sealedSize
    await failpoint('move.copied')
  }

  async function readBack(store: BlobStore, part: StoredPart, onRead: (length: number) => void) {
    for await (const chunk of readPart(store, keyring, part, 0, part.plainSize)) {
      if (signal.aborted) throw STOPPED
      onRead(chunk.byteLength)
      free(chunk)
    }
  }

  async function sightOf(part: StoredPart): Promise<'whole' | 'missing' | 'other'> {
    try {
      await onTarget(() => checkPart(to, keyring, part))
      return 'whole'
    } catch (error) {
      if (!(error instanceof CoreError)) throw error
      return error.code === 'file_not_found' ? 'missing' : 'other'
    }
  }

  async function carryOver(part: StoredPart): Promise<void> {
    const sight = await sightOf(part)
    if (sight === 'other') await onTarget(() => to.remove([part.object]))
    if (sight === 'whole') advance(part.sealedSize / 2)
    else await copy(part)
    try {
      await onTarget(() => readBack(to, part, (length) => advance(length / 2)))
    } catch (error) {
      if (!(error instanceof CoreError)) throw error
      // Its own fault, if it does not open where it comes from either.
      await readBack(from, part, () => undefined)
      await onTarget(() => to.remove([part.object]))
      await copy(part)
      await onTarget(() => readBack(to, part, () => undefined)).catch((cause: unknown) => {
        throw cause instanceof CoreError
          ? new TargetError(`${part.object} does not read back as it was written`, { cause })
          : cause
      })
    }
  }

  /** From here on nothing is known: rows have changed since the last run. */
  async function forget(): Promise<void> {
    known = pageBefore
    await options.keep({ ...(known ?? FIRST), suspects: [...suspects] })
  }

  async function move(row: PartRow): Promise<void> {
    const name = `${row.blob_id}.${row.number}`
    const wasKnown = isUpTo(row, known) && !suspects.has(name)
    const found = await checks.check(row, async (part) => {
      if (wasKnown) {
        if ((await sightOf(part)) === 'whole') return advance(part.sealedSize)
        await forget()
      }
      await carryOver(part)
    })
    objects += 1
    bytes += row.sealed_size
    if (found) {
      findings.add(found)
      // One more than are kept: it says that there are more.
      if (suspects.size <= MOST_SUSPECTS) suspects.add(name)
    } else suspects.delete(name)
  }

  async function keepPlace(last: PartRow, isDue: boolean): Promise<void> {
    pageBefore = { blobId: last.blob_id, number: last.number }
    if (isUpTo(last, known) || suspects.size > MOST_SUSPECTS) return
    if (!isDue && performance.now() - savedAt < SAVE_EVERY_MS) return
    savedAt = performance.now()
    known = pageBefore
    await options.keep({ ...known, suspects: [...suspects] })
    await failpoint('move.kept')
  }

  let isAtEnd = true
  let last: PartRow | undefined
  try {
    for await (const page of livingRows(source, 'blob_part')) {
      for await (const few of inBatches(page, GROUP)) {
        await inLanes(few, LANES, move)
        last = few.at(-1) as PartRow
        await keepPlace(last, signal.aborted)
        if (signal.aborted) throw STOPPED
      }
    }
    if (last) await keepPlace(last, true)
    await removeOthers(source, to)
  } catch (error) {
    if (error !== STOPPED) throw error
    isAtEnd = false
  }
  return { objects, bytes, copied, isAtEnd }
}

/** Thrown inside a run that has to stop. */
const STOPPED = Symbol('stopped')

interface Place {
  readonly blobId: string
  readonly number: number
}

/** Before all parts. */
const FIRST: Place = { blobId: '', number: 0 }

function isUpTo({ blob_id, number }: PartRow, place: Place | undefined): boolean {
  if (!place) return false
  return blob_id === place.blobId ? number <= place.number : blob_id < place.blobId
}

/** Objects that an earlier run has carried over, and whose rows have gone since. */
async function removeOthers(source: Database, to: BlobStore): Promise<void> {
  for await (const batch of inBatches(to.list(BLOB_FOLDER), BATCH)) {
    const others = await withoutRow(source, batch)
    await onTarget(() => to.remove(others.map(({ name }) => name)))
  }
}

async function copyObject(
  object: ObjectReader,
  to: BlobStore,
  name: string,
  signal: AbortSignal,
  onCopied: (length: number) => void,
): Promise<void> {
  const writer = await onTarget(() => to.create(name))
  try {
    for (let at = 0; at < object.size; at += STRETCH_BYTES) {
      if (signal.aborted) throw STOPPED
      const stretch = await object.read(at, Math.min(STRETCH_BYTES, object.size - at))
      const { byteLength } = stretch
      await onTarget(() => writer.write([stretch]))
      onCopied(byteLength)
    }
    await onTarget(() => writer.commit())
  } catch (error) {
    await writer.abort()
    throw error
  }
}

/** Tells failures of the new place from those of the old one. What is about an object is left as it is. */
async function onTarget<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof CoreError)) throw error
    if (error.code === 'integrity' || error.code === 'file_not_found') throw error
    throw new TargetError(`the new place: ${error.message}`, { cause: error })
  }
}
