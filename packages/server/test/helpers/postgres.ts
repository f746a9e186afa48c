import { randomBytes } from 'node:crypto'
import { CompiledQuery } from 'kysely'
import type { PostgresAccess } from '../../src/store/database/postgres-pool.ts'
import { atEnd, type Scope } from './cleanup.ts'

/**
 * A PostgreSQL server to run the suite on, with a migrated database `holdfast_template`
 * (`npm run test:engines` starts one); without it stores of tests are on SQLite.
 */
const server = () => process.env.HOLDFAST_TEST_DATABASE_URL

export const onPostgres = server() !== undefined

/** The settings of a store's database: on PostgreSQL one of its own, which goes with the test. */
export async function databaseSettings(t: Scope): Promise<Record<string, string>> {
  return server() === undefined ? {} : createDatabase(t, 'holdfast_template')
}

/** The same for a database in which nothing is. */
export function emptyDatabase(t: Scope): Promise<Record<string, string>> {
  return createDatabase(t, 'template0')
}

async function createDatabase(t: Scope, template: string): Promise<Record<string, string>> {
  const name = `test_${randomBytes(8).toString('hex')}`
  await onServer(`create database ${name} template ${template}`)
  atEnd(t, () => onServer(`drop database ${name} with (force)`))
  return { HOLDFAST_DATABASE_URL: databaseUrl(name), HOLDFAST_UNSAFE_DATABASE: '1' }
}

/** The address of a database of the server. */
export function databaseUrl(name: string): string {
  const url = new URL(server() ?? '')
  url.pathname = name
  return url.href
}

/** Runs a statement in a connection of its own, and answers its rows. */
export async function query<Row>(
  access: PostgresAccess,
  sql: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  const { poolOver } = await import('../../src/store/database/postgres-pool.ts')
  const database = poolOver(access, { connections: 1 })
  try {
    const { rows } = await database.executeQuery(CompiledQuery.raw(sql, [...values]))
    return rows as Row[]
  } finally {
    await database.destroy()
  }
}

async function onServer(sql: string): Promise<void> {
  await query({ url: server() ?? '', unsafe: true }, sql)
}
