import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { TestContext } from 'node:test'
import { type Config, loadConfig } from '../../src/config.ts'
import type { Core } from '../../src/core/core.ts'
import type { PreviewKind } from '../../src/core/previews/formats.ts'
import { openForServer } from '../../src/open.ts'
import { folderPaths } from '../../src/store/folder.ts'
import { atEnd, testFolder } from './cleanup.ts'
import { copyNewStore } from './new-store.ts'
import { databaseSettings, query } from './postgres.ts'
import { TestClock } from './server.ts'
import { testBlobSettings } from './test-blobs.ts'

/** A store that is open as the server's, without HTTP. */
export interface TestStore {
  readonly config: Config
  readonly core: Core
  readonly clock: TestClock
  close(): Promise<void>
}

/** The settings of a store that does not exist yet, in a folder that goes with the test. */
export async function temporaryConfig(
  t: TestContext,
  environment: NodeJS.ProcessEnv = {},
): Promise<Config> {
  return loadConfig(await temporarySettings(t, environment))
}

async function temporarySettings(
  t: TestContext,
  environment: NodeJS.ProcessEnv,
): Promise<NodeJS.ProcessEnv> {
  const folder = await testFolder(t)
  return {
    HOLDFAST_DATA: join(folder, 'data'),
    ...testBlobSettings(),
    ...(await databaseSettings(t)),
    ...environment,
  }
}

/** Opens a store, new unless `config` names one. */
export async function openTestStore(
  t: TestContext,
  environment: NodeJS.ProcessEnv = {},
): Promise<TestStore> {
  const settings = await temporarySettings(t, environment)
  const config = loadConfig(settings)
  await copyNewStore(config.data, { ...settings, HOLDFAST_DATA: environment.HOLDFAST_DATA })
  return openStoreOf(t, config)
}

/** Opens the store of a folder. Nobody makes previews there; that pictures wait for them can be seen. */
export async function openStoreOf(
  t: TestContext,
  config: Config,
  clock = new TestClock(),
  previewKinds: readonly PreviewKind[] = ['image'],
): Promise<TestStore> {
  const fail = (error: Error) => {
    throw error
  }
  const opened = await openForServer(config, clock.read, fail, { previewKinds })
  let closed: Promise<void> | undefined
  function close(): Promise<void> {
    closed ??= opened.close()
    return closed
  }
  atEnd(t, close)
  return { config, core: opened.core, clock, close }
}

type Value = string | number | null | Uint8Array

/** Rows of a store's database, as somebody sees them who has got hold of it. In SQL `?` stands for a value. */
export async function rowsOf<Row = Record<string, unknown>>(
  { data, postgres }: Config,
  sql: string,
  ...values: Value[]
): Promise<Row[]> {
  if (postgres) return query(postgres, numbered(sql), values)
  return behind(data, (database) => database.prepare(sql).all(...values) as Row[])
}

/** Changes a store's database behind its back. Without values there may be several statements. */
export async function tamper(
  { data, postgres }: Config,
  sql: string,
  ...values: Value[]
): Promise<void> {
  if (postgres) await query(postgres, numbered(sql), values)
  else if (values.length === 0) behind(data, (database) => database.exec(sql))
  else behind(data, (database) => database.prepare(sql).run(...values))
}

function behind<T>(data: string, work: (database: DatabaseSync) => T): T {
  const database = new DatabaseSync(folderPaths(data).database, { timeout: 1000 })
  try {
    return work(database)
  } finally {
    database.close()
  }
}

function numbered(sql: string): string {
  let number = 0
  return sql.replaceAll('?', () => `$${++number}`)
}

/** The files below a folder, as paths relative to it, sorted; none when there is no such folder. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort()
}
