import { dirname } from 'node:path'
import type { Database, Writer } from '../../core/database.ts'
import { readMeta } from '../../core/meta.ts'
import { realFolder } from '../folder.ts'
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
  /** Where it is, one text however that is spelled; nothing secret. */
  address(): Promise<string>
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
  const openForCommand = () => openCommandDatabase(file)
  return {
    name: 'holdfast.db',
    address: async () => `SQLite in ${await realFolder(dirname(file))}`,
    isNew: async () => !databaseExists(file),
    binding: async () => (databaseExists(file) ? closing(await openForCommand(), bindingOf) : {}),
    openForServer: (onFailure) => openServerDatabase(file, migrate, onFailure),
    openForCommand,
    alone: async (work) =>
      closing(await openForCommand(), (database) =>
        database.write((writer) => work(within(database, writer))),
      ),
  }
}

/** @param connections that the server holds at most */
export function postgresPlace(access: PostgresAccess, connections: number): DatabasePlace {
  const name = 'the PostgreSQL database'
  // Loaded when there is one: its client takes memory that those with SQLite are spared.
  const postgres = () => import('./postgres.ts')
  const openForCommand = async () => (await postgres()).openCommandPostgres(access)
  const binding = async () => closing(await openForCommand(), bindingOf)
  return {
    name,
    address: async () => (await import('./postgres-pool.ts')).postgresAddress(access),
    async isNew() {
      const { volume, begun } = await binding()
      if (begun) throw unfinished(name)
      return volume === undefined
    },
    binding,
    openForServer: async () => (await postgres()).openServerPostgres(access, connections),
    openForCommand,
    async alone(work) {
      const { writeAlone } = await postgres()
      return closing(await openForCommand(), (database) =>
        writeAlone(access, (writer) => work(within(database, writer))),
      )
    },
  }
}

/** Runs work on a database, and closes it whatever comes of that. */
export async function closing<T>(
  database: Database,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

async function bindingOf({ read }: Database): Promise<Binding> {
  if ((await schemaVersion(read)) === undefined) return {}
  const volume = await readMeta(read, VOLUME)
  const begun = await begunRows(read)
  return { ...(volume !== undefined && { volume }), ...(begun && { begun }) }
}

/** The same database as it is within a transaction. */
function within(database: Database, writer: Writer): Database {
  return { ...database, read: writer, write: (work) => work(writer), close: async () => undefined }
}
