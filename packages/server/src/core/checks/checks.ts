import type { Blobs } from '../blobs/blobs.ts'
import type { BlobStore } from '../blobs/store.ts'
import type { Clock } from '../clock.ts'
import type { Database } from '../database.ts'
import type { Keyring } from '../keys/keyring.ts'
import { type FsckOptions, type FsckReport, fsck } from './fsck.ts'
import { collectGarbage, type GcOptions, type GcReport } from './gc.ts'
import { createScrub, type Scrub } from './scrub.ts'

/** What an operator asks of a store: is all of it there, does it open, what lies about. */
export interface Checks {
  /** @throws CoreError storage_unavailable */
  fsck(options: FsckOptions): Promise<FsckReport>
  /** @throws CoreError storage_unavailable */
  gc(options: GcOptions): Promise<GcReport>
  readonly scrub: Scrub
}

export function createChecks(parts: {
  database: Database
  store: BlobStore
  keyring: Keyring
  blobs: Blobs
  clock: Clock
}): Checks {
  const { database, store, keyring, clock } = parts
  return {
    fsck: (options) => fsck(parts, options),
    gc: (options) => collectGarbage(parts, options),
    scrub: createScrub(database, store, keyring, clock),
  }
}
