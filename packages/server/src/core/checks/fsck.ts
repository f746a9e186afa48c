import { setTimeout as delay } from 'node:timers/promises'
import { inLanes } from '../batches.ts'
import { type Blobs, isToRemove } from '../blobs/blobs.ts'
import {
  type BlobStore,
  type ObjectEntry,
  QUARANTINE_FOLDER,
  TRASH_FOLDER,
} from '../blobs/store.ts'
import { findUntracked, trashUntracked, withoutRow } from '../blobs/untracked.ts'
import type { Clock } from '../clock.ts'
import type { Database } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import {
  type Checked,
  createFindings,
  type Finding,
  type FindingKind,
  type Findings,
  type OnProgress,
} from './findings.ts'
import { isSettledBefore, sizeOf } from './gc.ts'
import { findDangling, findUnlinked, trashUnlinked } from './links.ts'
import { checkParts, createPartChecks, type PartRow } from './parts.ts'
import { checkBlobs, checkSealedColumns, checkSmallContent } from './rows.ts'
import { damagedParts, type ScrubSummary, scrubSummary } from './scrub-state.ts'
import { checkTotals } from './totals.ts'

/** Blobs whose removal is ended at once, and objects opened at once. */
const PAGE = 256
const LANES = 8
/** Beside a server, how long an object without a row may wait for its transaction. */
const SETTLE_MS = 10_000

export interface FsckOptions {
  /** Whether a server uses the store: what it has begun is no finding. */
  served: boolean
  /** Milliseconds; beside a server a repair moves only what is older. */
  grace: number
  /** Puts right what can be put right without losing anything. */
  repair: boolean
  /** Findings that are listed; all are counted. */
  most: number
  /** Milliseconds, instead of ten seconds. */
  settle?: number
  onProgress?: OnProgress
}

export interface FsckReport {
  readonly findings: readonly Finding[]
  readonly counts: Readonly<Partial<Record<FindingKind, number>>>
  readonly total: number
  /** Of them, put right. */
  readonly repaired: number
  /** What was looked at. */
  readonly checked: { readonly rows: number; readonly objects: number }
  /** Untracked objects were left alone, since there are more than crashes leave. */
  readonly stopped: boolean
  /** Blobs that a running server is removing. */
  readonly deleting: number
  readonly trash: { readonly objects: number; readonly bytes: number }
  readonly quarantine: { readonly objects: number; readonly bytes: number }
  /** The last scrub. */
  readonly scrub: ScrubSummary
}

interface FsckParts {
  database: Database
  store: BlobStore
  keyring: Keyring
  blobs: Blobs
  clock: Clock
}

/**
 * Holds the database, the blob store and the keyring against each other. Changes nothing without
 * `repair`, and removes nothing even with it. Works beside a running server: what it changes
 * meanwhile is looked at again before it is called a finding.
 *
 * @throws CoreError storage_unavailable when the store cannot be listed
 */
export async function fsck(parts: FsckParts, options: FsckOptions): Promise<FsckReport> {
  const { database, store, clock } = parts
  const isSettled = isSettledBefore(store, clock, options)
  const run: Run = {
    ...parts,
    ...options,
    isSettled,
    findings: createFindings(options.most),
    rows: await countRows(database),
    checked: 0,
    named: new Set(),
  }
  for (const text of await database.check()) run.findings.add({ kind: 'database', text })
  const objects = await checkObjects(run)
  const deleting = await checkRows(run)
  await checkLinks(run)
  for await (const finding of checkTotals(database, options.repair)) run.findings.add(finding)
  await checkScrubbed(run)
  const stopped = await checkUntracked(run)
  await checkUnfinished(run, deleting)
  const { findings } = run
  return {
    findings: findings.list,
    counts: findings.counts,
    total: findings.total(),
    repaired: findings.repaired(),
    checked: { rows: run.checked, objects },
    stopped,
    deleting: options.served ? deleting.length : 0,
    trash: await sizeOf(store, TRASH_FOLDER),
    quarantine: await sizeOf(store, QUARANTINE_FOLDER),
    scrub: await scrubSummary(database),
  }
}

interface Run extends FsckParts, FsckOptions {
  readonly isSettled: (entry: ObjectEntry) => boolean
  readonly findings: Findings
  /** An estimate, for progress. */
  readonly rows: { parts: number; others: number }
  /** Rows that were looked at. */
  checked: number
  /** Blobs that rows were sealed for which link to others now. */
  readonly named: Set<string>
}

async function countRows(database: Database): Promise<Run['rows']> {
  const parts = await countOf(database, 'blob_part')
  const names = ['blob', 'small_content', 'box_event', 'account_file', 'saved_file'] as const
  let others = 0
  for (const name of names) others += await countOf(database, name)
  return { parts, others }
}

async function countOf(
  database: Database,
  table: 'blob_part' | 'blob' | 'small_content' | 'box_event' | 'account_file' | 'saved_file',
): Promise<number> {
  const { count } = await database.read
    .selectFrom(table)
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  return count
}

/** Every part against its object; answers how many. */
async function checkObjects(run: Run): Promise<number> {
  const { database, findings, repair, onProgress } = run
  const checks = createPartChecks(database, run.store, run.keyring)

  async function check(row: PartRow): Promise<Finding | undefined> {
    const finding = await checks.check(row, checks.lookAtHeader)
    return finding && repair ? checks.repair(row, finding) : finding
  }

  let done = 0
  for await (const checked of checkParts(database, check)) {
    checked.findings.forEach(findings.add)
    done += checked.rows
    onProgress?.('objects', done, run.rows.parts)
  }
  run.checked += done
  return done
}

/** Blobs, content in the database and all sealed columns; answers which blobs are being removed. */
async function checkRows(run: Run): Promise<string[]> {
  const { database, keyring, findings, onProgress } = run
  const deleting: string[] = []
  const all: readonly ((database: Database, keyring: Keyring) => AsyncGenerator<Checked>)[] = [
    checkBlobs,
    checkSmallContent,
    checkSealedColumns,
  ]
  let done = 0
  for (const check of all) {
    for await (const checked of check(database, keyring)) {
      checked.findings.forEach(findings.add)
      deleting.push(...(checked.deleting ?? []))
      for (const id of checked.named ?? []) run.named.add(id)
      done += checked.rows
      onProgress?.('rows', done, Math.max(done, run.rows.others))
    }
  }
  run.checked += done
  return deleting
}

async function checkLinks(run: Run): Promise<void> {
  const { database, findings, repair, isSettled, named } = run
  for await (const { id, created_at } of findUnlinked(database)) {
    const finding: Finding = { kind: 'unlinked', table: 'blob', id, text: 'nothing links to it' }
    const isOld = isSettled({ name: id, size: 0, changedAt: created_at })
    // The content of a row whose link was turned is still somebody's.
    const isTrashed = repair && isOld && !named.has(id) && (await trashUnlinked(run, id))
    findings.add(isTrashed ? { ...finding, repair: 'trashed' } : finding)
  }
  for await (const finding of findDangling(database)) findings.add(finding)
}

/** What a scrub could not open, if it still does not open. */
async function checkScrubbed(run: Run): Promise<void> {
  const checks = createPartChecks(run.database, run.store, run.keyring)
  for await (const row of damagedParts(run.database)) {
    // What is wrong with more than its content has been found already.
    if (await checks.check(row, checks.lookAtHeader)) continue
    const found = await checks.check(row, checks.lookAtContent)
    if (!found) continue
    const finding: Finding = { ...found, kind: 'damaged' }
    run.findings.add(run.repair ? await checks.repair(row, finding) : finding)
  }
}

/** @returns whether there are so many that a repair left them alone */
async function checkUntracked(run: Run): Promise<boolean> {
  const { database, store, findings, repair, onProgress } = run
  const found = await findUntracked(database, store, run.isSettled, (objects) =>
    onProgress?.('untracked', objects, Math.max(objects, run.rows.parts)),
  )
  const recent = await stillUntracked(run, found.recent)
  const settled = await stillThere(store, found.settled)
  const isStopped = repair && found.suspicious
  const trashed = new Set(repair && !isStopped ? await trashUntracked(run, settled) : [])
  for (const entry of settled) {
    findings.add(trashed.has(entry) ? { ...untracked(entry), repair: 'trashed' } : untracked(entry))
  }
  for (const entry of recent) findings.add(untracked(entry))
  findings.addUnseen('untracked', found.count - found.settled.length)
  return isStopped
}

function untracked({ name, size }: ObjectEntry): Finding {
  return { kind: 'untracked', object: name, text: `no row names it; ${size} bytes` }
}

/** Of objects that may have belonged to uploads in flight those whose transaction did not come. */
async function stillUntracked(
  { database, store, settle = SETTLE_MS }: Run,
  entries: readonly ObjectEntry[],
): Promise<ObjectEntry[]> {
  const left = await stillThere(store, await withoutRow(database, entries))
  if (left.length === 0) return []
  await delay(settle)
  return stillThere(store, await withoutRow(database, left))
}

/** A deletion removes an object before its row, so that it may have been listed and be gone now. */
async function stillThere(
  store: BlobStore,
  entries: readonly ObjectEntry[],
): Promise<ObjectEntry[]> {
  const there = await inLanes(entries, LANES, async ({ name }) => {
    try {
      await (await store.open(name)).close()
      return true
    } catch (error) {
      // One that cannot be opened is there all the same.
      return !(error instanceof CoreError && error.code === 'file_not_found')
    }
  })
  return entries.filter((_, index) => there[index])
}

/** Of blobs those whose removal is due. */
async function toRemove({ database, clock }: Run, ids: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for (let start = 0; start < ids.length; start += PAGE) {
    const rows = await database.read
      .selectFrom('blob')
      .select('id')
      .where('id', 'in', ids.slice(start, start + PAGE))
      .where(isToRemove(clock()))
      .execute()
    found.push(...rows.map(({ id }) => id))
  }
  return found
}

/** What a crash interrupted. A running server finishes its own removals, when no reader needs them. */
async function checkUnfinished(run: Run, deleting: readonly string[]): Promise<void> {
  const { store, blobs, findings, served, repair, isSettled } = run
  if (!served) {
    const due = await toRemove(run, deleting)
    if (repair && due.length > 0) await blobs.finishDeleting()
    const left = new Set(repair ? await toRemove(run, due) : due)
    for (const id of due) {
      const text = 'its removal was interrupted'
      const finding: Finding = { kind: 'unfinished', table: 'blob', id, text }
      findings.add(left.has(id) ? finding : { ...finding, repair: 'finished' })
    }
  }
  let youngest = 0
  for await (const entry of store.unfinished()) {
    if (!isSettled(entry)) continue
    const text = `an upload that never ended; ${entry.size} bytes`
    const finding: Finding = { kind: 'unfinished', object: entry.name, text }
    findings.add(repair ? { ...finding, repair: 'removed' } : finding)
    youngest = Math.max(youngest, entry.changedAt)
  }
  // Nobody was ever told that these bytes are stored.
  if (repair && youngest > 0) await store.clearUnfinished(youngest + 1)
}
