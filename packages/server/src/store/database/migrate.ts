import type { Kysely } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import type { Reader } from '../../core/database.ts'
import type { Schema } from '../../core/schema.ts'
import * as first from './migrations/0001-first.ts'
import * as accountFiles from './migrations/0002-account-files.ts'

/** In order; a released migration is never edited. */
const migrations: Record<string, Migration> = {
  '0001-first': first,
  '0002-account-files': accountFiles,
}

/** The name of the newest migration: what `npx holdfast` and the server must agree on. */
export const SCHEMA_VERSION = Object.keys(migrations).at(-1) ?? ''

/** Brings the database up to `SCHEMA_VERSION`. Only the server does, under the folder's lock. */
export async function migrate(database: Kysely<Schema>): Promise<void> {
  const migrator = new Migrator({
    db: database,
    provider: { getMigrations: async () => migrations },
  })
  const { error } = await migrator.migrateToLatest()
  if (error) throw error
}

/** The name of the last migration that ran, or undefined for a database without any. */
export async function schemaVersion(database: Reader): Promise<string | undefined> {
  const migrator = new Migrator({
    db: database,
    provider: { getMigrations: async () => migrations },
  })
  const run = (await migrator.getMigrations()).filter((migration) => migration.executedAt)
  return run.at(-1)?.name
}
