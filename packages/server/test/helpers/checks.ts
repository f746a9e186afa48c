import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Finding } from '../../src/core/checks/findings.ts'
import type { FsckOptions, FsckReport } from '../../src/core/checks/fsck.ts'
import type { GcOptions, GcReport } from '../../src/core/checks/gc.ts'
import type { ScrubOptions, ScrubReport } from '../../src/core/checks/scrub.ts'
import { createOwner, type Owner, stored } from './account.ts'
import { pattern } from './bytes.ts'
import { type TestStore, tamper } from './store.ts'

export const DAY_MS = 24 * 3600 * 1000
/** Larger than what the database takes in, so that it is a part. */
export const LARGE = 100_000

/** Checks a store that no server uses, a minute from now: everything in it is settled. */
export function fsckOf(store: TestStore, options: Partial<FsckOptions> = {}): Promise<FsckReport> {
  inAMinute(store)
  const { checks } = store.core
  return checks.fsck({ served: false, grace: DAY_MS, repair: false, most: 1000, ...options })
}

/** What is wrong with it, sorted, and nothing else. */
export async function findingsOf(
  store: TestStore,
  options: Partial<FsckOptions> = {},
): Promise<Finding[]> {
  return sorted((await fsckOf(store, options)).findings)
}

export function sorted(findings: readonly Finding[]): Finding[] {
  const key = ({ kind, object, table, id }: Finding) => [kind, object, table, id].join(' ')
  return findings.toSorted((one, other) => (key(one) < key(other) ? -1 : 1))
}

export function gcOf(store: TestStore, options: Partial<GcOptions> = {}): Promise<GcReport> {
  inAMinute(store)
  return store.core.checks.gc({
    served: false,
    grace: DAY_MS,
    dryRun: false,
    limit: 10_000,
    force: false,
    ...options,
  })
}

export function scrubOf(
  store: TestStore,
  options: Partial<ScrubOptions> = {},
): Promise<ScrubReport> {
  return store.core.checks.scrub.run({ rate: 0, most: 1000, ...options })
}

/** Files get their times from the machine's clock. */
function inAMinute({ clock }: TestStore): void {
  clock.now = Date.now() + 60_000
}

/** A file of an account, and where its bytes are. */
export interface StoredFile {
  readonly fileId: string
  readonly blobId: string
  /** The store's name of its first part. */
  readonly object: string
  /** The path of that. */
  readonly path: string
}

/** Somebody, and files of hers. */
export async function storeFiles(
  store: TestStore,
  ...sizes: number[]
): Promise<{ owner: Owner; files: StoredFile[] }> {
  const owner = await createOwner(store)
  const files: StoredFile[] = []
  for (const [index, size] of sizes.entries()) {
    files.push(await storeFile(store, owner, pattern(size, index)))
  }
  return { owner, files }
}

export async function storeFile(
  store: TestStore,
  owner: Owner,
  bytes: Uint8Array,
): Promise<StoredFile> {
  const { id: fileId, blobId } = await stored(store, owner, 'file.bin', bytes)
  if (blobId === null) throw new Error('the file has no content')
  const object = `blobs/${blobId.slice(0, 2)}/${blobId}.1`
  return { fileId, blobId, object, path: join(store.config.data, object) }
}

/** Runs statements that the database's own rules would refuse. */
export async function breakRows({ config }: TestStore, ...statements: string[]): Promise<void> {
  const withoutRules = config.postgres
    ? 'set session_replication_role = replica'
    : 'pragma foreign_keys = off'
  await tamper(config, [withoutRules, ...statements].join(';'))
}

/** Names below a folder of the store, without what makes them unique. */
export async function setAside(
  { config }: TestStore,
  folder: 'trash' | 'quarantine',
): Promise<string[]> {
  const names = await readdir(join(config.data, folder)).catch(() => [])
  return names
    .map((name) => name.slice(0, name.lastIndexOf('.')))
    .sort((one, other) => (one < other ? -1 : 1))
}
