import { execFileSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { openServerPostgres } from '../packages/server/src/store/database/postgres.ts'
import { query } from '../packages/server/test/helpers/postgres.ts'
import { missingForPostgres, reasonToSkip } from './packages.ts'
import { freePorts } from './ports.ts'
import { SCRIPTS } from './scripts.ts'

/** A PostgreSQL that runs for one file of tests, with `fsync = off`. */
export interface Postgres {
  /** Of its first database. */
  readonly url: string
  /** Stops it as a crash would. */
  stop(): void
  start(): void
}

/**
 * Starts a PostgreSQL for one file of tests, whose stores are then on it; it goes after them. It has a
 * migrated database `holdfast_template`.
 *
 * @returns why that cannot be, where the programs are not installed; on CI that is a failure
 */
export async function startPostgres(): Promise<Postgres | string> {
  const reason = reasonToSkip(missingForPostgres())
  if (reason) return reason
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-postgres-'))
  const port = String(await freePorts())
  const start = () => run('postgres-start', folder, port)
  const stop = () => run('postgres-stop', folder)
  start()
  after(async () => {
    stop()
    await rm(folder, { recursive: true })
  })
  const url = `postgres://holdfast@127.0.0.1:${port}/postgres`
  await query({ url, unsafe: true }, 'create database holdfast_template')
  const template = { url: url.replace('/postgres', '/holdfast_template'), unsafe: true }
  await (await openServerPostgres(template, 2)).close()
  process.env.HOLDFAST_TEST_DATABASE_URL = url
  return { url, start, stop }
}

function run(script: string, ...words: string[]): void {
  // Nothing but a pipe that is closed would tell that it has ended: the server keeps others open.
  execFileSync(join(SCRIPTS, script), words, { stdio: ['ignore', 'ignore', 'inherit'] })
}
