import { DatabaseSync } from 'node:sqlite'
import type { Settings } from '../../e2e/processes.ts'
import type { Config } from '../../packages/server/src/config.ts'
import { folderPaths } from '../../packages/server/src/store/folder.ts'
import type { Account } from '../filler.ts'

/** The store that grows, and whose account it is that does. */
export interface Place {
  readonly config: Config
  readonly account: Account
  /** For processes that are started on it. */
  readonly settings: Settings
  /** Ids of files that have content, from all over the account. */
  sample(count: number): string[]
}

export function openPlace(config: Config, account: Account): Place {
  return {
    config,
    account,
    settings: {
      HOLDFAST_DATA: config.data,
      HOLDFAST_API_RATE_LIMIT: '0',
      HOLDFAST_LOG_LEVEL: 'warn',
    },
    sample: (count) => sampleOf(folderPaths(config.data).database, count),
  }
}

function sampleOf(file: string, count: number): string[] {
  const database = new DatabaseSync(file, { readOnly: true })
  const last = Number(database.prepare('select max(n) as n from account_file').get()?.n)
  // One that a deletion took is followed by one that it did not.
  const next = database.prepare(
    'select id from account_file where n >= ? and blob_id is not null order by n limit 1',
  )
  const ids = new Set<string>()
  while (ids.size < count) ids.add(String(next.get(Math.floor(Math.random() * last))?.id))
  database.close()
  return [...ids]
}
