import { type RawBuilder, sql } from 'kysely'
import { inLanes, pages } from '../batches.ts'
import { storedPart } from '../blobs/part-rows.ts'
import { checkPart, readPart, type StoredPart } from '../blobs/parts.ts'
import { type BlobStore, QUARANTINE_FOLDER, TRASH_FOLDER } from '../blobs/store.ts'
import type { Database } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { epochInside, sealedJson } from '../keys/sealed-column.ts'
import { free } from '../memory.ts'
import type { PartSeal, Row } from '../schema.ts'
import type { Checked, Finding } from './findings.ts'

/** Reads and repairs beside a running server may find another object each time; damage stays. */
const MOST_LOOKS = 5
/** Rows that are read at once, and objects opened at once. */
const PAGE = 256
const LANES = 8

export type PartRow = Row<'blob_part'>

/** Parts of blobs, or what is remembered of them. */
type PartTable = 'blob_part' | 'scrub_finding'
/** By which both are ordered. */
type PartKey = Pick<PartRow, 'blob_id' | 'number'>

/** Rows behind one in the order of blobs and numbers. */
export function behind(
  table: PartTable,
  last: PartKey = { blob_id: '', number: 0 },
): RawBuilder<boolean> {
  const place = sql`${sql.ref(`${table}.blob_id`)}, ${sql.ref(`${table}.number`)}`
  return sql<boolean>`(${place}) > (${last.blob_id}, ${last.number})`
}

/** Rows of blobs that are not being deleted, in the order of blobs and numbers, some at a time. */
export function livingRows<Table extends PartTable>(
  { read }: Database,
  table: Table,
): AsyncGenerator<Row<Table>[]> {
  const name = sql.table(table)
  return pages<Row<Table>>(PAGE, async (last) => {
    const { rows } = await sql<Row<Table>>`
      select ${name}.* from ${name} join blob on blob.id = ${name}.blob_id
        where blob.state <> 'deleting' and ${behind(table, last as PartKey | undefined)}
        order by ${name}.blob_id, ${name}.number limit ${PAGE}`.execute(read)
    return rows
  })
}

/** All parts of such blobs, some of them looked at at once. */
export async function* checkParts(
  database: Database,
  check: (row: PartRow) => Promise<Finding | undefined>,
): AsyncGenerator<Checked> {
  for await (const page of livingRows(database, 'blob_part')) {
    const found = await inLanes(page, LANES, check)
    yield { rows: page.length, findings: found.filter((finding) => finding !== undefined) }
  }
}

/** Looks at the object of a part and throws what is wrong with it. */
export type Look = (part: StoredPart) => Promise<void>

/** Holds parts against their objects. */
export interface PartChecks {
  /**
   * What is wrong with a part, found twice while its row stood. Uploads, deletions and new seals of a
   * running server are no findings.
   */
  check(row: PartRow, look: Look): Promise<Finding | undefined>
  /** Size, header and payload nonce. */
  readonly lookAtHeader: Look
  /** Every chunk. */
  readonly lookAtContent: Look
  /** Puts what can be put right; nothing is removed. */
  repair(row: PartRow, finding: Finding): Promise<Finding>
}

export function createPartChecks(
  database: Database,
  store: BlobStore,
  keyring: Keyring,
): PartChecks {
  const column = sealedJson<PartSeal>(keyring, 'blob_part')
  let setAside: Promise<Map<string, string[]>> | undefined

  async function lookOnce(row: PartRow, look: Look): Promise<Finding | undefined> {
    const place = { table: 'blob_part', id: `${row.blob_id}.${row.number}` }
    let part: StoredPart
    try {
      part = storedPart(column, row)
    } catch (error) {
      return { ...wrongColumn(keyring, row.sealed, error), ...place }
    }
    const object = row.object
    if (!hasEpoch(keyring, part.epoch)) return { ...unknownEpoch(part.epoch), ...place, object }
    try {
      await look(part)
      return undefined
    } catch (error) {
      return { ...wrongObject(error), ...place, object }
    }
  }

  async function current({ blob_id, number }: PartRow): Promise<PartRow | undefined> {
    return database.read
      .selectFrom('blob_part')
      .innerJoin('blob', 'blob.id', 'blob_part.blob_id')
      .selectAll('blob_part')
      .where('blob_part.blob_id', '=', blob_id)
      .where('blob_part.number', '=', number)
      .where('blob.state', '<>', 'deleting')
      .executeTakeFirst()
  }

  /** What was set aside, by the last part of the name it had. */
  async function findSetAside(): Promise<Map<string, string[]>> {
    const found = new Map<string, string[]>()
    for (const folder of [TRASH_FOLDER, QUARANTINE_FOLDER]) {
      for await (const { name } of store.list(folder)) {
        const was = name.slice(name.lastIndexOf('/') + 1, name.lastIndexOf('.'))
        found.set(was, [...(found.get(was) ?? []), name])
      }
    }
    return found
  }

  /** An object that was set aside and is what the row says, to its last chunk. */
  async function findCopy(part: StoredPart): Promise<string | undefined> {
    setAside ??= findSetAside()
    const was = part.object.slice(part.object.lastIndexOf('/') + 1)
    for (const object of (await setAside).get(was) ?? []) {
      const isGood = await lookAtContent({ ...part, object }).then(
        () => true,
        () => false,
      )
      if (isGood) return object
    }
    return undefined
  }

  async function lookAtContent(part: StoredPart): Promise<void> {
    for await (const bytes of readPart(store, keyring, part, 0, part.plainSize)) free(bytes)
  }

  return {
    lookAtHeader: (part) => checkPart(store, keyring, part),
    lookAtContent,

    async check(row, look) {
      let stands = row
      let found: Finding | undefined
      for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
        const finding = await lookOnce(stands, look)
        if (!finding) return undefined
        // An object goes only after its row did: one that is missing between two sights of its row is damage.
        const now = await current(stands)
        if (!now) return undefined
        const isSame =
          now.object === stands.object && Buffer.compare(now.sealed, stands.sealed) === 0
        if (isSame && found?.kind === finding.kind) return finding
        found = isSame ? finding : undefined
        stands = now
      }
      return found
    },

    async repair(row, finding) {
      const isObject = ['missing', 'mismatched', 'damaged'].includes(finding.kind)
      // Where the row itself is wrong nothing can be said of the object.
      if (!isObject || !finding.object) return finding
      const part = storedPart(column, row)
      const copy = await findCopy(part)
      // What opens in part stays readable, unless there is something better.
      const isUseless = finding.kind === 'mismatched' || (finding.kind === 'damaged' && copy)
      if (isUseless) await store.quarantine(part.object)
      if (copy && (await store.restore(copy, part.object)))
        return { ...finding, repair: 'restored' }
      return isUseless ? { ...finding, repair: 'quarantined' } : finding
    },
  }
}

/** What is wrong with a sealed value that did not open. */
export function wrongColumn(
  keyring: Keyring,
  sealed: Uint8Array,
  error: unknown,
): Pick<Finding, 'kind' | 'text'> {
  if (!isIntegrity(error)) throw error
  const epoch = epochInside(sealed)
  if (epoch !== undefined && !hasEpoch(keyring, epoch)) return unknownEpoch(epoch)
  return { kind: 'mismatched', text: error.message }
}

function wrongObject(error: unknown): Pick<Finding, 'kind' | 'text'> {
  if (!(error instanceof CoreError)) throw error
  if (error.code === 'file_not_found') return { kind: 'missing', text: 'the object is missing' }
  if (error.code === 'integrity') return { kind: 'mismatched', text: error.message }
  if (error.code === 'storage_unavailable') return { kind: 'unreadable', text: error.message }
  throw error
}

function unknownEpoch(epoch: number): Pick<Finding, 'kind' | 'text'> {
  return { kind: 'unknown_epoch', text: `epoch ${epoch} is not in the keyring` }
}

export function hasEpoch(keyring: Keyring, number: number): boolean {
  try {
    keyring.epoch(number)
    return true
  } catch (error) {
    if (isIntegrity(error)) return false
    throw error
  }
}

export function isIntegrity(error: unknown): error is CoreError {
  return error instanceof CoreError && error.code === 'integrity'
}
