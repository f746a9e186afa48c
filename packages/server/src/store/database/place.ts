import type { Database, Reader, Writer } from '../../core/database.ts'
import { type BegunNote, begunRows, unfinished, VOLUME } from '../move-notes.ts'
import { migrate, schemaVersion } from './migrate.ts'
import type { PostgresAccess } from './postgres-pool.ts'
import { databaseExists, openCommandDatabase, openServerDatabase } from './sqlite.ts'

export interface Binding {
  /** The id of a volume. */
  readonly volume?: string
  readonly begun?: BegunNote
}

/** Where the database of a store is. */
export interface DatabasePlace {
  /** What an operator would know it by. */
  readonly name: string
  /** Whether nothing is there that belongs to a store. @throws DatabaseError */
  isNew(): Promise<boolean>
  /** What it belongs to, or is to belong to once a move is done; nothing where there is no store. @throws DatabaseError */
  binding(): Promise<Binding>
  /**
   * Makes it when it is new, and migrates it. Where a folder holds it the caller has the folder's lock.
   *
   * @param onFailure told of failures that leave this process unable to promise durability
   * @throws DatabaseError, FolderError
   */
  openForServer(onFailure: (error: Error) => void): Promise<Database>
  /** Creates and migrates nothing. @throws DatabaseError */
  openForCommand(): Promise<Database>
  /**
   * Runs work on a database that nobody else writes to meanwhile, however long it takes. What it
   * writes becomes visible, all at once, when it settles. Creates and migrates nothing.
   *
   * @throws DatabaseError
   */
  alone<T>(work: (database: Database) => Promise<T>): Promise<T>
}

/** @param file of SQLite */
export function sqlitePlace(file: string): DatabasePlace {
  return {
    name: 'holdfast.db',
    isNew: async () => !databaseExists(file),
    async binding() {
      if (!databaseExists(file)) return {}
      const database = await openCommandDatabase(file)
      try {
        return await bindingOf(database.read)
      } finally {
        await database.close()
      }
    },
    openForServer: (onFailure) => openServerDatabase(file, migrate, onFailure),
    openForCommand: () => openCommandDatabase(file),
    async alone(work) {
      const database = await openCommandDatabase(file)
      try {
        return await database.write((writer) => work(within(database, writer)))
      } finally {
        await database.close()
      }
    },
  }
}

/** @param connections that the server holds at most */
export function postgresPlace(access: PostgresAccess, connections: number): DatabasePlace {
  // Loaded when there is one: its client takes memory that those with SQLite are spared.
  const postgres = () => import('./postgres.ts')
  return {
    name: 'the PostgreSQL database',
    async isNew() {
      const { volume, begun } = await this.binding()
      if (begun) throw unfinished('the PostgreSQL database')
      return volume === undefined
    },
    async binding() {
      const { openCommandPostgres } = await postgres()
      const database = await openCommandPostgres(access)
      try {
        return await bindingOf(database.read)
      } finally {
        await database.close()
      }
    },
    openForServer: async () => (await postgres()).openServerPostgres(access, connections),
    openForCommand: async () => (await postgres()).openCommandPostgres(access),
    async alone(work) {
      const { openCommandPostgres, writeAlone } = await postgres()
      const database = await openCommandPostgres(access)
      try {
        return await writeAlone(access, (writer) => work(within(database, writer)))
      } finally {
        await database.close()
      }
    },
  }
}

async function bindingOf(reader: Reader): Promise<Binding> {
  if ((await schemaVersion(reader)) === undefined) return {}
  const row = await reader
    .selectFrom('meta')
    .select('value')
    .where('key', '=', VOLUME)
    .executeTakeFirst()
  const begun = await begunRows(reader)
  return { ...(row && { volume: row.value }), ...(begun && { begun }) }
}

/** The same database as it is within a transaction. */
function within(database: Database, writer: Writer): Database {
  return { ...database, read: writer, write: (work) => work(writer), close: async () => undefined }
}
