import type { Database } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedBytes, sealedJson } from '../keys/sealed-column.ts'
import { prepare } from '../prepared.ts'
import type { BlobSeal, PartSeal } from '../schema.ts'
import type { Blobs, StoredBlob } from './blobs.ts'
import { storedPart } from './part-rows.ts'
import { readPart, type StoredPart } from './parts.ts'
import type { BlobStore } from './store.ts'

/** Reads blobs: each piece is held against what the database says of it before it is handed over. */
export function createReading(
  database: Database,
  store: BlobStore,
  keyring: Keyring,
): Pick<Blobs, 'read'> {
  const blobColumn = sealedJson<BlobSeal>(keyring, 'blob')
  const partColumn = sealedJson<PartSeal>(keyring, 'blob_part')
  const smallColumn = sealedBytes(keyring, 'small_content')

  const selectSmall = prepare((slot: (name: 'id') => never) =>
    database.read.selectFrom('small_content').select('sealed').where('blob_id', '=', slot('id')),
  )
  const selectSeal = prepare((slot: (name: 'id') => never) =>
    database.read.selectFrom('blob').select('sealed').where('id', '=', slot('id')),
  )
  const selectParts = prepare((slot: (name: 'id') => never) =>
    database.read
      .selectFrom('blob_part')
      .selectAll()
      .where('blob_id', '=', slot('id'))
      .orderBy('number'),
  )

  async function readSmall(blob: StoredBlob): Promise<Uint8Array | undefined> {
    const [row] = await selectSmall(database.read, { id: blob.id })
    if (!row) return undefined
    const plain = smallColumn.open(blob.id, '', row.sealed)
    if (plain.byteLength !== blob.size) throw damaged(blob, 'does not have its size')
    return plain
  }

  /** The parts in order, each held against its sealed column. */
  async function partsOf(blob: StoredBlob): Promise<StoredPart[]> {
    const rows = await selectParts(database.read, { id: blob.id })
    const whole = await sealOf(blob)
    if (rows.length !== whole.parts || blob.size !== whole.size) {
      throw damaged(blob, 'does not have all its parts')
    }
    const parts = rows.map((row) => storedPart(partColumn, row))
    if (rows.some((row, index) => row.number !== index + 1)) {
      throw damaged(blob, 'has parts that are not numbered as they were')
    }
    const total = parts.reduce((sum, part) => sum + part.plainSize, 0)
    if (total !== blob.size) throw damaged(blob, 'has parts that do not add up')
    return parts
  }

  async function sealOf(blob: StoredBlob): Promise<BlobSeal> {
    const [row] = await selectSeal(database.read, { id: blob.id })
    if (!row) throw new CoreError('file_not_found', 'the blob is gone')
    if (!row.sealed) throw damaged(blob, 'has neither content nor parts')
    return blobColumn.open(blob.id, '', row.sealed)
  }

  /** Goes on in the copy that took the place of an object while it was read. */
  async function* readStored(
    blob: StoredBlob,
    number: number,
    part: StoredPart,
    start: number,
    end: number,
  ): AsyncGenerator<Uint8Array> {
    let copy = part
    let at = start
    for (;;) {
      try {
        for await (const bytes of readPart(store, keyring, copy, at, end)) {
          at += bytes.byteLength
          yield bytes
        }
        return
      } catch (error) {
        if (!(error instanceof CoreError) || error.code !== 'file_not_found') throw error
        copy = await otherCopy(blob, number, copy, error)
      }
    }
  }

  /** An object that is gone while its row stands is damage; both go together when a blob is deleted. */
  async function otherCopy(
    blob: StoredBlob,
    number: number,
    missing: StoredPart,
    error: CoreError,
  ): Promise<StoredPart> {
    const row = await database.read
      .selectFrom('blob_part')
      .selectAll()
      .where('blob_id', '=', blob.id)
      .where('number', '=', number)
      .executeTakeFirst()
    const copy = row && storedPart(partColumn, row)
    if (copy && copy.object !== missing.object && copy.plainSize === missing.plainSize) return copy
    if (!(await isStored(blob.id))) throw error
    throw new CoreError('integrity', `${missing.object} is missing`, { cause: error })
  }

  async function isStored(blobId: string): Promise<boolean> {
    const row = await database.read
      .selectFrom('blob')
      .select('id')
      .where('id', '=', blobId)
      .where('state', '=', 'stored')
      .executeTakeFirst()
    return row !== undefined
  }

  return {
    async *read(blob, start, end) {
      const small = await readSmall(blob)
      if (small) {
        yield small.subarray(start, end)
        return
      }
      let offset = 0
      for (const [index, part] of (await partsOf(blob)).entries()) {
        const from = Math.max(start - offset, 0)
        const to = Math.min(end - offset, part.plainSize)
        if (from < to) yield* readStored(blob, index + 1, part, from, to)
        offset += part.plainSize
      }
    },
  }
}

function damaged({ id }: StoredBlob, what: string): CoreError {
  return new CoreError('integrity', `blob ${id} ${what}`)
}
