import type { TestContext } from 'node:test'
import type { Config } from '../../src/config.ts'
import type { Core } from '../../src/core/core.ts'
import { openForCommand } from '../../src/open.ts'
import { atEnd } from './cleanup.ts'
import { openStoreOf, rowsOf, type TestStore } from './store.ts'

/** A pause of no time: nobody else has the store open, or the test says what they do meanwhile. */
export const atOnce = async (): Promise<void> => undefined

/** What a command sees that runs beside a server. */
export async function openCommand(t: TestContext, config: Config): Promise<Core> {
  const command = await openForCommand(config, Date.now)
  atEnd(t, () => command.close())
  return command.core
}

/** Closes a store and opens it again. */
export async function reopen(t: TestContext, store: TestStore): Promise<TestStore> {
  await store.close()
  return openStoreOf(t, store.config, store.clock)
}

/** `<number> <state> <kind>` of each epoch. */
export async function epochsIn(core: Core): Promise<string[]> {
  const epochs = await core.epochs.list()
  return epochs.map(({ number, state, kind }) => `${number} ${state} ${kind ?? 'gone'}`)
}

/** The epochs of a table's sealed values, each once. */
export async function epochsOf(store: TestStore, table: string): Promise<number[]> {
  const rows = await rowsOf(
    store.config,
    `select distinct substr(sealed, 2, 4) as epoch from ${table}
         where sealed is not null order by 1`,
  )
  return rows.map(({ epoch }) => Buffer.from(epoch as Uint8Array).readUInt32BE())
}
