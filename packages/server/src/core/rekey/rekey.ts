import { setTimeout as delay } from 'node:timers/promises'
import type { BlobStore } from '../blobs/store.ts'
import type { Database } from '../database.ts'
import type { Epochs } from '../keys/epochs.ts'
import type { Keyring } from '../keys/keyring.ts'
import { SEALED_TABLES } from '../keys/sealed-tables.ts'
import { resealColumns } from './columns.ts'
import { createPace } from './pace.ts'
import { createPartResealer } from './parts.ts'
import { type EpochUsage, usageByEpoch } from './usage.ts'

/** What a run has done. */
export interface RekeyReport {
  /** The epoch that everything is sealed to now. */
  current: number
  /** Old epochs of which nothing was left, and whose keys are destroyed. */
  dropped: number[]
  /** Old epochs that still seal something: it does not open, or is being deleted. */
  left: number[]
  /** Parts that were sealed anew. */
  parts: number
  /** Bytes of their content. */
  bytes: number
  /** Sealed columns that were sealed anew, content in the database among them. */
  columns: number
  /** Parts and columns that do not open. They are left as they are, and keep their epoch. */
  damaged: number
}

/** Parts and columns that are done, of how many in all. */
export interface RekeyProgress {
  done: number
  total: number
}

/** Seals what old epochs have sealed to the current one, and drops them. */
export interface Rekey {
  /** What is sealed to each epoch, by its number. */
  usage(): Promise<Map<number, EpochUsage>>
  /**
   * Works beside a running server; for one process at a time. Whenever it is stopped nothing is lost,
   * and the next run goes on.
   *
   * @param pause settles after so many milliseconds: between its steps the disk is left to others
   * @yields after each step
   */
  run(
    pause?: (milliseconds: number) => Promise<unknown>,
  ): AsyncGenerator<RekeyProgress, RekeyReport>
}

export function createRekey(
  database: Database,
  store: BlobStore,
  keyring: Keyring,
  epochs: Epochs,
): Rekey {
  const usage = () => usageByEpoch(database.read)

  async function oldEpochs(): Promise<number[]> {
    return (await epochs.list()).flatMap(({ number, state }) => (state === 'old' ? [number] : []))
  }

  return {
    usage,

    async *run(pause = delay) {
      const pace = createPace(pause)
      const parts = createPartResealer(database, store, keyring, pace)
      const old = await oldEpochs()
      const used = await usage()
      const total = old.reduce((sum, number) => sum + valuesOf(used.get(number)), 0)
      const report: RekeyReport = {
        current: keyring.current.number,
        dropped: [],
        left: [],
        parts: 0,
        bytes: 0,
        columns: 0,
        damaged: 0,
      }
      const progress = () => ({ done: report.parts + report.columns, total })

      async function* sealAnew(epoch: number): AsyncGenerator<RekeyProgress, number> {
        const resealing = parts.reseal(epoch)
        let step = await resealing.next()
        for (; !step.done; step = await resealing.next()) {
          report.parts += step.value.parts
          report.bytes += step.value.bytes
          yield progress()
        }
        let damaged = step.value
        for (const table of SEALED_TABLES) {
          const columns = resealColumns(database, keyring, table, epoch, pace)
          let batch = await columns.next()
          for (; !batch.done; batch = await columns.next()) {
            report.columns += batch.value
            yield progress()
          }
          damaged += batch.value
        }
        return damaged
      }

      await epochs.finishDropping()
      await parts.finish()
      for (const epoch of old) {
        let damaged: number
        let isDropped: boolean
        let before: number
        do {
          before = progress().done
          damaged = yield* sealAnew(epoch)
          await parts.finish()
          isDropped = await epochs.drop(epoch)
          yield progress()
          // Bytes that were on their way since the epoch ended may have come meanwhile.
        } while (!isDropped && progress().done > before)
        report[isDropped ? 'dropped' : 'left'].push(epoch)
        report.damaged += damaged
      }
      return report
    },
  }
}

/** Each part has a column, which is sealed anew together with it. */
function valuesOf(usage: EpochUsage | undefined): number {
  return usage ? usage.smallContents + usage.columns : 0
}
