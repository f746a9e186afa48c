import type { Database } from '../../core/database.ts'
import { migrate } from './migrate.ts'
import type { PostgresAccess } from './postgres-pool.ts'
import { databaseExists, openCommandDatabase, openServerDatabase } from './sqlite.ts'

/** Where the database of a store is. */
export interface DatabasePlace {
  /** What an operator would know it by. */
  readonly name: string
  /** Whether nothing is there that belongs to a store. @throws DatabaseError */
  isNew(): Promise<boolean>
  /**
   * Makes it when it is new, and migrates it. Where a folder holds it the caller has the folder's lock.
   *
   * @param onFailure told of failures that leave this process unable to promise durability
   * @throws DatabaseError, FolderError
   */
  openForServer(onFailure: (error: Error) => void): Promise<Database>
  /** Creates and migrates nothing. @throws DatabaseError */
  openForCommand(): Promise<Database>
}

/** @param file of SQLite */
export function sqlitePlace(file: string): DatabasePlace {
  return {
    name: 'holdfast.db',
    isNew: async () => !databaseExists(file),
    openForServer: (onFailure) => openServerDatabase(file, migrate, onFailure),
    openForCommand: () => openCommandDatabase(file),
  }
}

/** @param connections that the server holds at most */
export function postgresPlace(access: PostgresAccess, connections: number): DatabasePlace {
  // Loaded when there is one: its client takes memory that those with SQLite are spared.
  const postgres = () => import('./postgres.ts')
  return {
    name: 'the PostgreSQL database',
    isNew: async () => (await (await postgres()).postgresVolume(access)) === undefined,
    openForServer: async () => (await postgres()).openServerPostgres(access, connections),
    openForCommand: async () => (await postgres()).openCommandPostgres(access),
  }
}
