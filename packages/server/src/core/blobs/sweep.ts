import type { Clock } from '../clock.ts'
import type { Database } from '../database.ts'
import { failpoint } from '../failpoints.ts'
import type { Blobs } from './blobs.ts'
import type { StagedObjects } from './staged.ts'
import type { BlobStore } from './store.ts'
import { findUntracked, trashUntracked } from './untracked.ts'

/** How long the trash keeps an object. */
export const TRASH_KEPT_MS = 24 * 3600 * 1000

/** What one sweep did. */
export interface SweepReport {
  /** Blobs whose removal a crash had interrupted. */
  finished: number
  /** Objects that no row names, moved to the trash. */
  trashed: number
  /** Untracked objects left where they are because there are suspiciously many. */
  suspicious: number
  /** Objects removed from the trash after their day. */
  removed: number
}

/**
 * Cleans up what crashes left: unfinished deletions, and objects that were stored but whose
 * transaction never came. Run by the server that holds the folder's lock, or the lease of the jobs.
 *
 * @param staged objects of this process whose transaction may still come
 * @param since objects changed since then, or within the store's grace before, are left alone as well
 */
export async function sweep(
  parts: {
    database: Database
    store: BlobStore
    staged: StagedObjects
    blobs: Blobs
    clock: Clock
  },
  since: number,
): Promise<SweepReport> {
  const { database, store, staged, blobs, clock } = parts
  const finished = await blobs.finishDeleting()
  await failpoint('sweep.deletions-finished')
  const before = since - store.writerGrace
  // After the clock was set back, objects of this process look older than its start.
  const found = await findUntracked(
    database,
    store,
    ({ name, changedAt }) => changedAt < before && !staged.has(name),
  )
  await failpoint('sweep.listed')
  const taken = found.suspicious ? [] : await trashUntracked(parts, found.settled)
  await failpoint('sweep.trashed')
  const removed = await store.emptyTrash(clock() - TRASH_KEPT_MS)
  return {
    finished,
    trashed: taken.length,
    suspicious: found.suspicious ? found.count : 0,
    removed,
  }
}
