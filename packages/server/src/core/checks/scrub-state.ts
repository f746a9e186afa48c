import { pages } from '../batches.ts'
import type { Database, Reader, Writer } from '../database.ts'
import { putMeta, readMeta } from '../meta.ts'
import type { Row } from '../schema.ts'
import { behind } from './parts.ts'

const KEY = 'scrub'
const PAGE = 256

/** How far a scrub has come. */
export interface ScrubPosition {
  readonly blobId: string
  /** Of the part; 0 before the first. */
  readonly number: number
  /** Bytes of the part's content that were opened. */
  readonly offset: number
}

/** What is kept of scrubs between processes. Times are milliseconds since the epoch. */
export interface ScrubState {
  /** Of the last scrub. */
  startedAt: number
  /** Of the last one that came to its end. */
  finishedAt: number | null
  /** Where the last one goes on; null when it came to its end. */
  position: ScrubPosition | null
  /** Parts and contents of the database that it has opened, and their bytes. */
  objects: number
  bytes: number
  /** Who scrubs now, if `until` has not passed. */
  lease: { holder: string; until: number; background: boolean } | null
}

/** What reports say of scrubs. */
export interface ScrubSummary {
  readonly startedAt: number | null
  readonly finishedAt: number | null
  /** Whether one was begun and is not at its end. */
  readonly isUnfinished: boolean
}

export async function readScrubState(reader: Reader): Promise<ScrubState | undefined> {
  const value = await readMeta(reader, KEY)
  return value === undefined ? undefined : (JSON.parse(value) as ScrubState)
}

export const writeScrubState = (writer: Writer, state: ScrubState) =>
  putMeta(writer, KEY, JSON.stringify(state))

export async function scrubSummary({ read }: Database): Promise<ScrubSummary> {
  const state = await readScrubState(read)
  return {
    startedAt: state?.startedAt ?? null,
    finishedAt: state?.finishedAt ?? null,
    isUnfinished: state?.position != null,
  }
}

/** Parts that scrubs could not open and that are still there, in the order of blobs. */
export async function* damagedParts({ read }: Database): AsyncGenerator<Row<'blob_part'>> {
  for await (const page of pages<Row<'blob_part'>>(PAGE, (last) =>
    read
      .selectFrom('scrub_finding')
      .innerJoin('blob_part', (join) =>
        join
          .onRef('blob_part.blob_id', '=', 'scrub_finding.blob_id')
          .onRef('blob_part.number', '=', 'scrub_finding.number'),
      )
      .selectAll('blob_part')
      .where(behind('blob_part', last))
      .orderBy('blob_part.blob_id')
      .orderBy('blob_part.number')
      .limit(PAGE)
      .execute(),
  )) {
    yield* page
  }
}
