import { sql } from 'kysely'
import { type Blobs, isToRemove } from '../blobs/blobs.ts'
import { hasNoLink } from '../blobs/links.ts'
import { type BlobStore, type ObjectEntry, TRASH_FOLDER } from '../blobs/store.ts'
import { TRASH_KEPT_MS } from '../blobs/sweep.ts'
import { findUntracked, trashUntracked } from '../blobs/untracked.ts'
import type { Clock } from '../clock.ts'
import type { Database } from '../database.ts'
import type { OnProgress } from './findings.ts'

export interface GcOptions {
  /** Whether a server uses the store: what it has begun is left to it. */
  served: boolean
  /** Milliseconds; beside a server, what is younger may belong to an upload in flight. */
  grace: number
  /** Only says what would be done. */
  dryRun: boolean
  /** Objects moved in one run, at most. */
  limit: number
  /** Goes on although suspiciously many objects have no row. */
  force: boolean
  onProgress?: OnProgress
}

/** What a run did, or what a dry run would do. */
export interface GcReport {
  readonly dryRun: boolean
  /** Objects that no row names. */
  readonly untracked: number
  readonly untrackedBytes: number
  /** Further ones that may belong to uploads in flight. */
  readonly recent: number
  /** Objects in all. */
  readonly objects: number
  /** Of the untracked ones, moved to the trash. */
  readonly trashed: number
  readonly trashedBytes: number
  /** Removed from the trash after their day. */
  readonly removed: number
  readonly removedBytes: number
  /** Blobs whose removal a crash had interrupted. */
  readonly finished: number
  /** Nothing was moved, since more objects have no row than crashes leave. */
  readonly stopped: boolean
  /** Whether nothing that should go is left. */
  readonly clean: boolean
}

/** Which objects cannot belong to an upload in flight, seen from another process than the server's. */
export function isSettledBefore(
  { writerGrace }: BlobStore,
  clock: Clock,
  { served, grace }: { served: boolean; grace: number },
): (entry: ObjectEntry) => boolean {
  const before = clock() - (served ? Math.max(grace, writerGrace) : writerGrace)
  return ({ changedAt }) => changedAt < before
}

/** Does by hand what the server's sweep does by itself. */
export async function collectGarbage(
  parts: { database: Database; store: BlobStore; blobs: Blobs; clock: Clock },
  options: GcOptions,
): Promise<GcReport> {
  const { database, store, blobs, clock } = parts
  const { served, dryRun, force, onProgress } = options
  const isSettled = isSettledBefore(store, clock, options)
  const countOrFinish = () => (dryRun ? countDeleting(database, clock()) : blobs.finishDeleting())
  const deleting = served ? 0 : await countOrFinish()

  const found = await findUntracked(database, store, isSettled, (objects) =>
    onProgress?.('objects', objects, 0),
  )
  const stopped = found.suspicious && !force
  const due = stopped ? [] : found.settled.slice(0, options.limit)
  const trashed = dryRun ? due : await trashUntracked(parts, due)

  const before = clock() - TRASH_KEPT_MS
  const old = await sizeOf(store, TRASH_FOLDER, ({ changedAt }) => changedAt < before)
  if (!dryRun) await store.emptyTrash(before)
  const isLeft = dryRun ? found.count + old.objects + deleting : found.count - trashed.length
  return {
    dryRun,
    untracked: found.count,
    untrackedBytes: found.bytes,
    recent: found.recent.length,
    objects: found.total,
    trashed: trashed.length,
    trashedBytes: trashed.reduce((sum, { size }) => sum + size, 0),
    removed: old.objects,
    removedBytes: old.bytes,
    finished: deleting,
    stopped,
    clean: isLeft === 0,
  }
}

async function countDeleting(database: Database, now: number): Promise<number> {
  const { count } = await database.read
    .selectFrom('blob')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where(isToRemove(now))
    .where(hasNoLink(sql`blob.id`))
    .executeTakeFirstOrThrow()
  return count
}

/** How much lies below a folder of the store. */
export async function sizeOf(
  store: BlobStore,
  folder: string,
  counts: (entry: ObjectEntry) => boolean = () => true,
): Promise<{ objects: number; bytes: number }> {
  let objects = 0
  let bytes = 0
  for await (const entry of store.list(folder)) {
    if (!counts(entry)) continue
    objects += 1
    bytes += entry.size
  }
  return { objects, bytes }
}
