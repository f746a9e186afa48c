import { inBatches } from '../batches.ts'
import type { Clock } from '../clock.ts'
import type { Database } from '../database.ts'
import { forgetSilent } from '../processes/processes.ts'
import { BLOB_FOLDER } from './names.ts'
import type { BlobStore, ObjectEntry } from './store.ts'

const BATCH = 500
/** More untracked objects than this share of all looks like a wrong or half-restored database, not like crashes. */
const LARGEST_SHARE = 0.1
/** A share says nothing of a handful. */
const ALWAYS_ALLOWED = 100
/** Names that are kept in memory, however many objects there are. */
const MOST_KEPT = 10_000

/** Objects that no row names. */
export interface Untracked {
  /** Those that can belong to no upload in flight; at most ten thousand of them. */
  readonly settled: readonly ObjectEntry[]
  /** How many of that kind there are, and their bytes. */
  readonly count: number
  readonly bytes: number
  /** Those that may belong to an upload in flight; at most ten thousand of them. */
  readonly recent: readonly ObjectEntry[]
  /** Objects in all. */
  readonly total: number
  /** Whether there are more than crashes leave. */
  readonly suspicious: boolean
}

/**
 * Looks for objects that no row names.
 *
 * @param isSettled whether an object can belong to no upload in flight
 * @param onProgress told how many objects were looked at
 */
export async function findUntracked(
  database: Database,
  store: BlobStore,
  isSettled: (entry: ObjectEntry) => boolean,
  onProgress: (objects: number) => void = () => undefined,
): Promise<Untracked> {
  const settled: ObjectEntry[] = []
  const recent: ObjectEntry[] = []
  let total = 0
  let count = 0
  let bytes = 0

  for await (const batch of inBatches(store.list(BLOB_FOLDER), BATCH)) {
    total += batch.length
    for (const entry of await withoutRow(database, batch)) {
      const list = isSettled(entry) ? settled : recent
      if (list.length < MOST_KEPT) list.push(entry)
      if (list === recent) continue
      count += 1
      bytes += entry.size
    }
    onProgress(total)
  }
  const allowed = Math.max(ALWAYS_ALLOWED, Math.floor(total * LARGEST_SHARE))
  return { settled, count, bytes, recent, total, suspicious: count > allowed }
}

/**
 * Moves objects to the trash that still have no row; answers which. To be told of those alone that
 * were written long ago: then no server can make them its own any more.
 */
export async function trashUntracked(
  { database, store, clock }: { database: Database; store: BlobStore; clock: Clock },
  entries: readonly ObjectEntry[],
): Promise<ObjectEntry[]> {
  if (entries.length > 0) await forgetSilent(database, clock())
  const trashed: ObjectEntry[] = []
  for await (const batch of inBatches(entries, BATCH)) {
    for (const entry of await withoutRow(database, batch)) {
      await store.moveToTrash(entry.name)
      trashed.push(entry)
    }
  }
  return trashed
}

/** Those of some objects that no row names. */
export async function withoutRow(
  database: Database,
  entries: readonly ObjectEntry[],
): Promise<ObjectEntry[]> {
  if (entries.length === 0) return []
  const names = entries.map(({ name }) => name)
  const rows = await database.read
    .selectFrom('blob_part')
    .select('object')
    .where('object', 'in', names)
    .unionAll((query) =>
      query.selectFrom('rekey_object').select('object').where('object', 'in', names),
    )
    .unionAll((query) =>
      query.selectFrom('staged_object').select('object').where('object', 'in', names),
    )
    .execute()
  const tracked = new Set(rows.map(({ object }) => object))
  return entries.filter(({ name }) => !tracked.has(name))
}
