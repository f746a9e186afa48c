import { sql } from 'kysely'
import type { Database, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import { failpoint } from '../failpoints.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedBytes } from '../keys/sealed-column.ts'
import { type SealedTable, type SealedValue, sealedValuesOf } from '../keys/sealed-tables.ts'
import type { Pace } from './pace.ts'

/** A transaction stays short, so that nobody who writes waits for long: about so many bytes, … */
const BATCH_BYTES = 256 * 1024
/** … and rows from so many, while it is not known how large they are, … */
const FEWEST_ROWS = 8
/** … up to so many. */
const MOST_ROWS = 64
/** Values that do not open are looked at again with each batch: no more of them than this. */
const MOST_DAMAGED = 1000

/**
 * Seals the values of a table that were sealed in `epoch` to the current one, batch by batch. What
 * is left to do is what a query finds, so that it can be stopped and begun again at any time. A value
 * that changes meanwhile keeps the change.
 *
 * @yields how many values a batch has sealed
 * @returns how many values do not open; they are left as they are
 */
export async function* resealColumns(
  database: Database,
  keyring: Keyring,
  table: SealedTable,
  epoch: number,
  pace: Pace,
): AsyncGenerator<number, number> {
  const column = sealedBytes(keyring, table.name)
  const damaged = new Set<string>()
  let rows = FEWEST_ROWS

  function open(value: SealedValue): { value: SealedValue; plain: Uint8Array }[] {
    try {
      return [{ value, plain: column.open(value.row, value.tenant, value.sealed) }]
    } catch (error) {
      if (!(error instanceof CoreError) || error.code !== 'integrity') throw error
      damaged.add(keyOf(value))
      return []
    }
  }

  while (damaged.size < MOST_DAMAGED) {
    const found = await sealedValuesOf(database.read, table, epoch, rows + damaged.size)
    const batch = found.filter((value) => !damaged.has(keyOf(value)))
    if (batch.length === 0) break
    const opened = batch.flatMap(open)
    await pace(() =>
      database.write(async (writer) => {
        for (const { value, plain } of opened) {
          await replace(writer, table, value, column.seal(value.row, value.tenant, plain))
        }
      }),
    )
    await failpoint('rekey.columns')
    const bytes = batch.reduce((sum, { sealed }) => sum + sealed.byteLength, 0)
    const fitting = Math.floor((BATCH_BYTES * batch.length) / bytes)
    rows = Math.min(Math.max(fitting, FEWEST_ROWS), MOST_ROWS)
    yield opened.length
  }
  return damaged.size
}

function keyOf(value: SealedValue): string {
  return value.key.join(' ')
}

async function replace(
  writer: Writer,
  { name, key }: SealedTable,
  value: SealedValue,
  sealed: Uint8Array,
): Promise<void> {
  const columns = sql.join(key.map((column) => sql.ref(column)))
  await sql`update ${sql.table(name)} set sealed = ${sealed}
    where (${columns}) = (${sql.join(value.key)}) and sealed = ${value.sealed}`.execute(writer)
}
