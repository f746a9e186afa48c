import type { Clock } from '../clock.ts'
import type { Database } from '../database.ts'
import { failpoint } from '../failpoints.ts'
import { BLOB_FOLDER, type Blobs } from './blobs.ts'
import type { BlobStore, ObjectEntry } from './store.ts'

const TRASH_KEPT_MS = 24 * 3600 * 1000
const BATCH = 500
/** More untracked objects than this share of all looks like a wrong or half-restored database, not like crashes. */
const LARGEST_SHARE = 0.1
/** A share says nothing of a handful. */
const ALWAYS_ALLOWED = 100

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
 * transaction never came. Run by the server alone, while it holds the folder's lock.
 *
 * @param startedAt objects changed since then may belong to uploads of this process and are left alone
 */
export async function sweep(
  database: Database,
  store: BlobStore,
  blobs: Blobs,
  clock: Clock,
  startedAt: number,
): Promise<SweepReport> {
  const finished = await blobs.finishDeleting()
  await failpoint('sweep.deletions-finished')
  const { untracked, total } = await findUntracked(database, store, startedAt)
  await failpoint('sweep.listed')
  const allowed = Math.max(ALWAYS_ALLOWED, Math.floor(total * LARGEST_SHARE))
  const suspicious = untracked.length > allowed ? untracked.length : 0
  const trashed = suspicious ? [] : untracked
  for (const name of trashed) await store.moveToTrash(name)
  await failpoint('sweep.trashed')
  const removed = await store.emptyTrash(clock() - TRASH_KEPT_MS)
  return { finished, trashed: trashed.length, suspicious, removed }
}

async function findUntracked(
  database: Database,
  store: BlobStore,
  startedAt: number,
): Promise<{ untracked: string[]; total: number }> {
  const untracked: string[] = []
  let total = 0
  let batch: ObjectEntry[] = []

  async function check(): Promise<void> {
    const tracked = await trackedObjects(database, batch)
    for (const { name } of batch) if (!tracked.has(name)) untracked.push(name)
    batch = []
  }

  for await (const entry of store.list(BLOB_FOLDER)) {
    total += 1
    if (entry.changedAt >= startedAt - store.writerGrace) continue
    batch.push(entry)
    if (batch.length >= BATCH) await check()
  }
  if (batch.length > 0) await check()
  return { untracked, total }
}

async function trackedObjects(database: Database, entries: ObjectEntry[]): Promise<Set<string>> {
  const names = entries.map((entry) => entry.name)
  const rows = await database.read
    .selectFrom('blob_part')
    .select('object')
    .where('object', 'in', names)
    .unionAll((query) =>
      query.selectFrom('rekey_object').select('object').where('object', 'in', names),
    )
    .execute()
  return new Set(rows.map((row) => row.object))
}
