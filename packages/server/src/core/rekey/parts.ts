import { createHash } from 'node:crypto'
import { mayBeCommitted } from '../blobs/blobs.ts'
import { copyName } from '../blobs/names.ts'
import { partRow, storedPart } from '../blobs/part-rows.ts'
import { createPart, readPart, type StoredPart } from '../blobs/parts.ts'
import type { BlobStore } from '../blobs/store.ts'
import type { Database } from '../database.ts'
import { CoreError } from '../errors.ts'
import { failpoint } from '../failpoints.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedJson } from '../keys/sealed-column.ts'
import { free } from '../memory.ts'
import type { PartSeal, Row } from '../schema.ts'
import type { Pace } from './pace.ts'

const ROWS = 20
/** The server clears away what other processes are writing: a copy is then begun again. */
const TRIES = 3
/** Content that is copied at a stretch. */
const STRETCH_BYTES = 4 * 1024 * 1024

/** What became of a step: content that was sealed anew, in bytes. */
export interface PartStep {
  /** Parts that are done with this step: 1 or 0. */
  readonly parts: number
  /** Bytes of their content. */
  readonly bytes: number
}

const BETWEEN: PartStep = { parts: 0, bytes: 0 }

/** Seals parts of blobs anew. */
export interface PartResealer {
  /** Removes copies and replaced objects that an interrupted run has left. */
  finish(): Promise<void>
  /**
   * Seals each part of an epoch to the current one under a new file key, in flat memory. The row is
   * given its copy when that is on the disk and was read back; what is left to do is what a query
   * finds. It can be stopped after each step.
   *
   * @returns how many parts do not open; they are left as they are
   */
  reseal(epoch: number): AsyncGenerator<PartStep, number>
}

export function createPartResealer(
  database: Database,
  store: BlobStore,
  keyring: Keyring,
  pace: Pace,
): PartResealer {
  const column = sealedJson<PartSeal>(keyring, 'blob_part')

  /** Parts whose blob is being deleted go with it. */
  function partsOf(epoch: number, limit: number): Promise<Row<'blob_part'>[]> {
    return database.read
      .selectFrom('blob_part')
      .innerJoin('blob', 'blob.id', 'blob_part.blob_id')
      .selectAll('blob_part')
      .where('epoch', '=', epoch)
      .where('blob.state', '!=', 'deleting')
      .limit(limit)
      .execute()
  }

  /** Keeps the sweep away from an object without a row, and tells the next run of it. */
  async function note(object: string): Promise<void> {
    await pace(() =>
      database.write((writer) => writer.insertInto('rekey_object').values({ object }).execute()),
    )
  }

  async function remove(object: string): Promise<void> {
    await store.remove([object])
    await pace(() =>
      database.write((writer) =>
        writer.deleteFrom('rekey_object').where('object', '=', object).execute(),
      ),
    )
  }

  /** @returns whether the row still named the object that was copied */
  async function swap(row: Row<'blob_part'>, copy: StoredPart): Promise<boolean> {
    return pace(() =>
      database.write(async (writer) => {
        const { blob_id, number, ...changed } = partRow(column, row.blob_id, row.number, copy)
        const { numUpdatedRows } = await writer
          .updateTable('blob_part')
          .set(changed)
          .where('blob_id', '=', blob_id)
          .where('number', '=', number)
          .where('object', '=', row.object)
          .where(({ exists, selectFrom }) =>
            exists(
              selectFrom('blob')
                .select('id')
                .whereRef('blob.id', '=', 'blob_part.blob_id')
                .where('state', '!=', 'deleting'),
            ),
          )
          .executeTakeFirst()
        if (numUpdatedRows === 0n) return false
        const { numDeletedRows } = await writer
          .deleteFrom('rekey_object')
          .where('object', '=', copy.object)
          .executeTakeFirst()
        if (numDeletedRows === 0n) {
          throw new CoreError('storage_unavailable', 'another run has begun, and removed the copy')
        }
        await writer.insertInto('rekey_object').values({ object: row.object }).execute()
        return true
      }),
    )
  }

  async function* resealPart(row: Row<'blob_part'>): AsyncGenerator<PartStep, void> {
    const part = storedPart(column, row)
    const object = copyName(row.blob_id, row.number)
    await note(object)
    await failpoint('rekey.noted')
    yield BETWEEN
    const copy = await copyPart(store, keyring, part, object, pace).catch(async (error) => {
      await remove(object)
      throw error
    })
    await failpoint('rekey.copied')
    yield BETWEEN
    const isSwapped = await swap(row, copy).catch(async (error: unknown) => {
      if (!mayBeCommitted(error)) await remove(object)
      throw error
    })
    await failpoint('rekey.swapped')
    yield BETWEEN
    await remove(isSwapped ? row.object : object)
    yield { parts: 1, bytes: part.plainSize }
  }

  /** Whether the error is about this part: it was damaged, or something else took its place. */
  function isOfPart(error: unknown): boolean {
    return (
      error instanceof CoreError && (error.code === 'integrity' || error.code === 'file_not_found')
    )
  }

  return {
    async finish() {
      const left = await database.read.selectFrom('rekey_object').select('object').execute()
      for (const { object } of left) await remove(object)
    },

    async *reseal(epoch) {
      const unopened = new Set<string>()
      const tries = new Map<string, number>()
      for (;;) {
        const found = await partsOf(epoch, ROWS + unopened.size)
        const batch = found.filter(({ object }) => !unopened.has(object))
        if (batch.length === 0) break
        for (const row of batch) {
          try {
            yield* resealPart(row)
          } catch (error) {
            if (isOfPart(error)) {
              unopened.add(row.object)
              continue
            }
            const tried = (tries.get(row.object) ?? 0) + 1
            if (!mayBeCommitted(error) || tried === TRIES) throw error
            tries.set(row.object, tried)
          }
        }
      }
      return unopened.size
    },
  }
}

/** Writes the content of a part into a new object, and reads it back once it is durable. */
async function copyPart(
  store: BlobStore,
  keyring: Keyring,
  part: StoredPart,
  object: string,
  pace: Pace,
): Promise<StoredPart> {
  const writer = await createPart(store, keyring, object)
  const whole = (from: StoredPart) => readPart(store, keyring, from, 0, from.plainSize)
  let copy: StoredPart
  let written: Uint8Array
  try {
    written = await digestOf(whole(part), pace, writer.write)
    copy = await writer.commit()
  } catch (error) {
    await writer.abort()
    throw error
  }
  const read = await digestOf(whole(copy), pace, async () => undefined)
  if (Buffer.compare(read, written) === 0) return copy
  throw new CoreError('storage_unavailable', `${object} does not read back as it was written`)
}

/** SHA-256 of content, each piece of which is handed on. */
async function digestOf(
  content: AsyncGenerator<Uint8Array>,
  pace: Pace,
  handOn: (bytes: Uint8Array) => Promise<void>,
): Promise<Uint8Array> {
  const hash = createHash('sha256')

  /** @returns whether there is more */
  async function stretch(): Promise<boolean> {
    for (let done = 0; done < STRETCH_BYTES; ) {
      const next = await content.next()
      if (next.done) return false
      hash.update(next.value)
      await handOn(next.value)
      done += next.value.byteLength
      free(next.value)
    }
    return true
  }

  try {
    while (await pace(stretch));
  } finally {
    await content.return(undefined)
  }
  return hash.digest()
}
