import type { Reader } from '../database.ts'
import { epochOf, SEALED_TABLES, sealedEpoch } from '../keys/sealed-tables.ts'

/** What is sealed to an epoch. */
export interface EpochUsage {
  parts: number
  /** Bytes of sealed parts. */
  bytes: number
  /** Contents that the database holds. */
  smallContents: number
  /** All other sealed columns. */
  columns: number
}

/** What each epoch seals; an epoch that seals nothing is not in it. */
export async function usageByEpoch(reader: Reader): Promise<Map<number, EpochUsage>> {
  const usage = new Map<number, EpochUsage>()
  function of(epoch: number): EpochUsage {
    const known = usage.get(epoch) ?? { parts: 0, bytes: 0, smallContents: 0, columns: 0 }
    usage.set(epoch, known)
    return known
  }

  const parts = await reader
    .selectFrom('blob_part')
    .select((eb) => [
      'epoch',
      eb.fn.countAll<number>().as('parts'),
      eb.fn.sum<number>('sealed_size').as('bytes'),
    ])
    .groupBy('epoch')
    .execute()
  for (const { epoch, parts: count, bytes } of parts) {
    Object.assign(of(epoch), { parts: count, bytes })
  }
  for (const { name } of SEALED_TABLES) {
    const rows = await reader
      .selectFrom(name)
      .select((eb) => [sealedEpoch.as('epoch'), eb.fn.countAll<number>().as('values')])
      .groupBy(sealedEpoch)
      .execute()
    for (const { epoch, values } of rows) {
      // Rows without a value, and what no epoch has sealed.
      if (epoch?.byteLength !== 4) continue
      of(epochOf(epoch))[name === 'small_content' ? 'smallContents' : 'columns'] += values
    }
  }
  return usage
}
