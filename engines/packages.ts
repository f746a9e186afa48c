import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'

const CEPH = ['ceph-mon', 'ceph-osd', 'radosgw', 'curl']
const POSTGRES_PROGRAMS = '/usr/lib/postgresql'

/** Debian packages that a Ceph wants and this machine does not have. */
export function missingForCeph(): string[] {
  return CEPH.filter((name) => spawnSync(name, ['--version']).error)
}

/** The same for a PostgreSQL. */
export function missingForPostgres(): string[] {
  const isThere = existsSync(POSTGRES_PROGRAMS) && readdirSync(POSTGRES_PROGRAMS).length > 0
  return isThere ? [] : ['postgresql-15']
}

/**
 * Why tests with engines cannot run here, or undefined.
 *
 * @throws Error with the same words on CI, where nothing may be missing
 */
export function reasonToSkip(missing: readonly string[]): string | undefined {
  if (missing.length === 0) return undefined
  const reason = `not installed: ${missing.join(', ')}`
  if (process.env.CI === 'true') throw new Error(reason)
  return reason
}
