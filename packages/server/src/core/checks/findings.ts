/**
 * What can be wrong with a store:
 * - `missing`: a row's object or content is not there
 * - `mismatched`: an object or a row is not what was written
 * - `damaged`: content that a scrub could not open
 * - `unreadable`: the store answers an error
 * - `untracked`: an object that no row names
 * - `unlinked`: a blob that nothing keeps alive
 * - `dangling`: a row that refers to something that is not there
 * - `unknown_epoch`: sealed for an epoch that is not in the keyring
 * - `drift`: a stored total that is not what its rows add up to
 * - `unfinished`: what a crash interrupted
 * - `database`: what the database finds wrong with itself
 */
export type FindingKind =
  | 'missing'
  | 'mismatched'
  | 'damaged'
  | 'unreadable'
  | 'untracked'
  | 'unlinked'
  | 'dangling'
  | 'unknown_epoch'
  | 'drift'
  | 'unfinished'
  | 'database'

/** What a repair did about a finding. */
export type Repair =
  | 'restored'
  | 'quarantined'
  | 'trashed'
  | 'recomputed'
  | 'finished'
  /** Bytes that were never acknowledged. */
  | 'removed'

/** One thing that is wrong. Nothing in it is a name or another text of somebody's. */
export interface Finding {
  readonly kind: FindingKind
  /** The store's name, when it is about an object. */
  readonly object?: string
  /** Table and row id, when it is about a row. */
  readonly table?: string
  readonly id?: string
  readonly text: string
  readonly repair?: Repair
}

/** Findings in bounded memory. */
export interface Findings {
  add(finding: Finding): void
  /** More of a kind than can be shown. */
  addUnseen(kind: FindingKind, count: number): void
  /** The first ones. */
  readonly list: readonly Finding[]
  /** How many there are of each kind. */
  readonly counts: Readonly<Partial<Record<FindingKind, number>>>
  total(): number
  repaired(): number
}

/** @param most findings that are kept; the others are only counted */
export function createFindings(most: number): Findings {
  const list: Finding[] = []
  const counts: Partial<Record<FindingKind, number>> = {}
  let total = 0
  let repaired = 0

  function addUnseen(kind: FindingKind, count: number): void {
    if (count === 0) return
    counts[kind] = (counts[kind] ?? 0) + count
    total += count
  }

  return {
    add(finding) {
      addUnseen(finding.kind, 1)
      if (finding.repair) repaired += 1
      if (list.length < most) list.push(finding)
    },
    addUnseen,
    list,
    counts,
    total: () => total,
    repaired: () => repaired,
  }
}

/** Told how far a step has come; `total` is an estimate, 0 when nobody knows. They count things, or bytes. */
export type OnProgress = (step: string, done: number, total: number, unit?: 'bytes') => void

/** What was looked at, and what is wrong with it. */
export interface Checked {
  readonly rows: number
  readonly findings: Finding[]
  /** Blobs that are being removed. */
  readonly deleting?: string[]
  /** Blobs that rows were sealed for which link to others now. */
  readonly named?: string[]
}
