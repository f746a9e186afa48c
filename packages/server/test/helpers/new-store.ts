import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '../../src/config.ts'
import { openForServer } from '../../src/open.ts'

/** With one of these a first start makes something else. */
const OTHER_STORES = ['DATABASE_URL', 'BLOBS_URL', 'DATA', 'ROOT_KEY_FILE', 'RECIPIENT']

let template: Promise<string> | undefined

/**
 * Puts a store that was started once and holds nothing where `HOLDFAST_DATA` says, unless the other
 * settings want another kind: most of a first start's time goes into the database. All stores of a
 * process have the same root key and are the same volume.
 *
 * @param data absolute path
 */
export async function copyNewStore(data: string, settings: NodeJS.ProcessEnv): Promise<void> {
  if (OTHER_STORES.some((name) => settings[`HOLDFAST_${name}`] !== undefined)) return
  template ??= makeTemplate()
  const made = await template
  for (const end of ['', '.key']) cpSync(made + end, data + end, { recursive: true })
}

async function makeTemplate(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-test-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const data = join(folder, 'data')
  const store = await openForServer(loadConfig({ HOLDFAST_DATA: data }), Date.now, (error) => {
    throw error
  })
  await store.close()
  return data
}
