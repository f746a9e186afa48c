import { sql } from 'kysely'
import { pages } from '../batches.ts'
import { requireLink } from '../blobs/links.ts'
import type { Database } from '../database.ts'
import type { Keyring } from '../keys/keyring.ts'
import { ROW_ID, sealedBytes, sealedJson } from '../keys/sealed-column.ts'
import {
  SEALED_TABLES,
  type SealedTable,
  type SealedValue,
  sealedValues,
} from '../keys/sealed-tables.ts'
import type { BlobLink, BlobSeal, BlobTable, Sealed } from '../schema.ts'
import type { Checked, Finding } from './findings.ts'
import { isIntegrity, wrongColumn } from './parts.ts'

const PAGE = 500
/** Content in the database may have up to 256 KiB. */
const CONTENT_PAGE = 32
/** These are held against what they stand for as well. */
const CHECKED_WITH_BLOBS = ['blob', 'blob_part', 'small_content']

/** A blob and what the rows say that belong to it, at one moment. */
interface BlobSight {
  id: string
  state: BlobTable['state']
  size: number
  sealed: Sealed<BlobSeal> | null
  parts: number
  /** Highest number of a part. */
  last: number
  /** Bytes of all parts. */
  bytes: number
  small: 0 | 1
}

/** Rows of a blob that do not fit together. Yields the findings of some rows at a time. */
export async function* checkBlobs(database: Database, keyring: Keyring): AsyncGenerator<Checked> {
  const column = sealedJson<BlobSeal>(keyring, 'blob')

  function sealOf({ id, sealed }: BlobSight): BlobSeal | Finding | null {
    if (!sealed) return null
    try {
      return column.open(id, '', sealed)
    } catch (error) {
      return { ...wrongColumn(keyring, sealed, error), table: 'blob', id }
    }
  }

  function check(blob: BlobSight): Finding | undefined {
    const seal = sealOf(blob)
    if (seal && 'kind' in seal) return seal
    const wrong = wrongBlob(blob, seal)
    return wrong && { ...wrong, table: 'blob', id: blob.id }
  }

  for await (const page of pages<BlobSight>(PAGE, (last) => sightBlobs(database, last?.id))) {
    const deleting = page.filter(({ state }) => state === 'deleting').map(({ id }) => id)
    yield { rows: page.length, findings: page.map(check).filter(isFinding), deleting }
  }
}

async function sightBlobs(database: Database, after: string | undefined): Promise<BlobSight[]> {
  // One statement, so that all of it is of the same moment.
  const { rows } = await sql<BlobSight>`
    select id, state, size, sealed,
      (select count(*) from blob_part where blob_id = blob.id) as parts,
      (select coalesce(max(number), 0) from blob_part where blob_id = blob.id) as last,
      (select coalesce(sum(plain_size), 0) from blob_part where blob_id = blob.id) as bytes,
      (select count(*) from small_content where blob_id = blob.id) as small
    from blob where id > ${after ?? ''} order by id limit ${PAGE}`.execute(database.read)
  return rows
}

function wrongBlob(
  { state, size, parts, last, bytes, small }: BlobSight,
  seal: BlobSeal | null,
): Pick<Finding, 'kind' | 'text'> | undefined {
  if (state === 'deleting') return undefined
  if (small && parts > 0) return mismatched('a blob has content in the database and parts')
  if (state === 'receiving') {
    return small || seal ? mismatched('an unfinished upload has content that is whole') : undefined
  }
  if (small) return undefined
  if (parts === 0) return { kind: 'missing', text: 'a blob has neither content nor parts' }
  if (!seal) return mismatched('a blob of parts is not sealed as a whole')
  if (seal.parts !== parts || last !== parts)
    return mismatched('a blob does not have all its parts')
  if (seal.size !== size || bytes !== size) return mismatched('the parts do not add up')
  return undefined
}

/** Content in the database. */
export async function* checkSmallContent(
  database: Database,
  keyring: Keyring,
): AsyncGenerator<Checked> {
  const column = sealedBytes(keyring, 'small_content')
  type Small = { blob_id: string; sealed: Uint8Array; size: number | null }

  function check({ blob_id: id, sealed, size }: Small): Finding | undefined {
    const wrong = wrongSmallContent(keyring, column, id, sealed, size)
    return wrong && { ...wrong, table: 'small_content', id }
  }

  for await (const page of pages<Small>(CONTENT_PAGE, (last) =>
    database.read
      .selectFrom('small_content')
      .leftJoin('blob', 'blob.id', 'small_content.blob_id')
      .select(['small_content.blob_id', 'small_content.sealed', 'blob.size'])
      .where('small_content.blob_id', '>', last?.blob_id ?? '')
      .orderBy('small_content.blob_id')
      .limit(CONTENT_PAGE)
      .execute(),
  )) {
    yield { rows: page.length, findings: page.map(check).filter(isFinding) }
  }
}

/** @param size that its blob gives it; null when it has none */
export function wrongSmallContent(
  keyring: Keyring,
  column: ReturnType<typeof sealedBytes>,
  blobId: string,
  sealed: Uint8Array,
  size: number | null,
): Pick<Finding, 'kind' | 'text'> | undefined {
  try {
    const { byteLength } = column.open(blobId, '', sealed)
    if (size === null || size === byteLength) return undefined
    return mismatched('a size does not match')
  } catch (error) {
    return wrongColumn(keyring, sealed, error)
  }
}

/** Sealed columns of all tables that nothing else is held against, and the links that they name. */
export async function* checkSealedColumns(
  database: Database,
  keyring: Keyring,
): AsyncGenerator<Checked> {
  for (const table of SEALED_TABLES) {
    if (CHECKED_WITH_BLOBS.includes(table.name)) continue
    const column = sealedBytes(keyring, table.name)
    for await (const page of pages<SealedValue>(PAGE, (last) =>
      sealedValues(database.read, table, PAGE, last?.key),
    )) {
      const findings: Finding[] = []
      const named: string[] = []
      for (const { row, tenant, sealed, linked } of page) {
        try {
          const plain = column.open(row, tenant, sealed)
          if (linked === null) continue
          const blobId = linkWithin(table, plain)
          if (blobId && blobId !== linked) named.push(blobId)
          requireLink(linked, blobId)
        } catch (error) {
          if (!isIntegrity(error)) throw error
          const wrong = wrongColumn(keyring, sealed, error)
          // What is no id is a secret of clients.
          findings.push({ ...wrong, table: table.name, ...(ROW_ID.test(row) && { id: row }) })
        }
      }
      yield { rows: page.length, findings, named }
    }
  }
}

/** The blob that a row was sealed for. Messages have always said it; other rows did not at first. */
function linkWithin({ link }: SealedTable, plain: Uint8Array): BlobLink['blobId'] {
  const text = JSON.parse(Buffer.from(plain).toString('utf8'))
  return link === 'fileId' ? (text.fileId ?? '') : text.blobId
}

function mismatched(text: string): Pick<Finding, 'kind' | 'text'> {
  return { kind: 'mismatched', text }
}

function isFinding(finding: Finding | undefined): finding is Finding {
  return finding !== undefined
}
