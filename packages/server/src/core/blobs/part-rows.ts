import type { Database, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { type SealedColumn, sealedJson } from '../keys/sealed-column.ts'
import { prepare } from '../prepared.ts'
import type { NewRow, PartSeal, Row } from '../schema.ts'
import type { StoredPart } from './parts.ts'

/** The row of a part. */
export function partRow(
  column: SealedColumn<PartSeal>,
  blobId: string,
  number: number,
  { object, epoch, digest, plainSize, sealedSize }: StoredPart,
): NewRow<'blob_part'> {
  return {
    blob_id: blobId,
    number,
    plain_size: plainSize,
    sealed_size: sealedSize,
    epoch,
    object,
    sealed: column.seal(`${blobId}.${number}`, '', { digest, plainSize, sealedSize }),
  }
}

/**
 * What the row of a part says, held against what was sealed of it.
 *
 * @throws CoreError integrity
 */
export function storedPart(column: SealedColumn<PartSeal>, row: Row<'blob_part'>): StoredPart {
  const part = column.open(`${row.blob_id}.${row.number}`, '', row.sealed)
  if (row.plain_size !== part.plainSize || row.sealed_size !== part.sealedSize) {
    throw new CoreError('integrity', `the row of ${row.object} does not match what was sealed`)
  }
  return { ...part, object: row.object, epoch: row.epoch }
}

/** Makes what inserts the row of a part, sealed in the transaction that does it. */
export function createPartInsert({ read }: Database, keyring: Keyring) {
  const column = sealedJson<PartSeal>(keyring, 'blob_part')
  const insert = prepare((slot: (name: keyof NewRow<'blob_part'>) => never) =>
    read.insertInto('blob_part').values({
      blob_id: slot('blob_id'),
      number: slot('number'),
      plain_size: slot('plain_size'),
      sealed_size: slot('sealed_size'),
      epoch: slot('epoch'),
      object: slot('object'),
      sealed: slot('sealed'),
    }),
  )
  return async (
    writer: Writer,
    blobId: string,
    number: number,
    part: StoredPart,
  ): Promise<void> => {
    await insert(writer, partRow(column, blobId, number, part))
  }
}
