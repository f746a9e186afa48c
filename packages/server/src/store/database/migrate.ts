import { type Kysely, sql } from 'kysely'
import { DEFAULT_MIGRATION_TABLE, type Migration, Migrator } from 'kysely/migration'
import type { Reader } from '../../core/database.ts'
import type { Schema } from '../../core/schema.ts'
import { FolderError } from '../folder.ts'
import * as first from './migrations/0001-first.ts'
import * as accountFiles from './migrations/0002-account-files.ts'
import * as companyFiles from './migrations/0003-company-files.ts'
import * as previews from './migrations/0004-previews.ts'
import * as checks from './migrations/0005-checks.ts'
import * as epochs from './migrations/0006-epochs.ts'
import * as processes from './migrations/0007-processes.ts'

/** In order; a released migration is never edited. */
const migrations: Record<string, Migration> = {
  '0001-first': first,
  '0002-account-files': accountFiles,
  '0003-company-files': companyFiles,
  '0004-previews': previews,
  '0005-checks': checks,
  '0006-epochs': epochs,
  '0007-processes': processes,
}

/** The name of the newest migration: what `npx holdfast` and the server must agree on. */
export const SCHEMA_VERSION = Object.keys(migrations).at(-1) ?? ''

/**
 * Brings the database up to `SCHEMA_VERSION`. Only a server that starts does, one at a time: under the
 * folder's lock, or on PostgreSQL under one of the database.
 *
 * @throws FolderError when a newer program has migrated it
 */
export async function migrate(database: Kysely<Schema>): Promise<void> {
  const version = await schemaVersion(database)
  if (version !== undefined && version > SCHEMA_VERSION) {
    throw new FolderError(
      `the database has schema ${version}, this program knows ${SCHEMA_VERSION}: start a newer program`,
    )
  }
  const migrator = new Migrator({
    db: database,
    provider: { getMigrations: async () => migrations },
  })
  const { error } = await migrator.migrateToLatest()
  if (error) throw error
}

/** The name of the last migration that ran, known here or not; undefined for a database without any. */
export async function schemaVersion(database: Reader): Promise<string | undefined> {
  const tables = await database.introspection.getTables({ withInternalKyselyTables: true })
  if (!tables.some((table) => table.name === DEFAULT_MIGRATION_TABLE)) return undefined
  const { rows } = await sql<{ name: string | null }>`
    select max(name) as name from ${sql.table(DEFAULT_MIGRATION_TABLE)}`.execute(database)
  return rows[0]?.name ?? undefined
}
