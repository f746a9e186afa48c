import { randomUUID } from 'node:crypto'
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises'
import { pages } from '../batches.ts'
import { readPart } from '../blobs/parts.ts'
import type { BlobStore } from '../blobs/store.ts'
import type { Clock } from '../clock.ts'
import type { Database } from '../database.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedBytes } from '../keys/sealed-column.ts'
import { free } from '../memory.ts'
import type { Row } from '../schema.ts'
import { createFindings, type Finding, type FindingKind, type OnProgress } from './findings.ts'
import { behind, createPartChecks, type Look, livingRows } from './parts.ts'
import { wrongSmallContent } from './rows.ts'
import {
  readScrubState,
  type ScrubPosition,
  type ScrubState,
  writeScrubState,
} from './scrub-state.ts'

const PAGE = 256
/** A server scrubs everything about once in so long. */
const EVERY_MS = 30 * 24 * 3600 * 1000
/** Who has not been heard of for so long scrubs no more. */
const LEASE_MS = 60_000
const SAVE_EVERY_MS = 10_000
/** A rate counts for this long at most: after a pause nothing is caught up. */
const LONGEST_DEBT_MS = 1000
const START: ScrubPosition = { blobId: '', number: 0, offset: 0 }

/** A scrub that cannot begin; the message says why. */
export class ScrubError extends Error {
  override name = 'ScrubError'
}

export interface ScrubOptions {
  /** Bytes of content a second; 0 is no limit. */
  rate: number
  /** Begins anew, rather than where an interrupted scrub was. */
  restart?: boolean
  /** Gives way to one that is not. */
  background?: boolean
  /** Findings that are listed; all are counted. */
  most: number
  /** Ends it, to go on from there another time. */
  signal?: AbortSignal
  /** Told of each finding as it is made. */
  onFinding?: (finding: Finding) => void
  /** Told of bytes that were opened. */
  onOpened?: (bytes: number) => void
  onProgress?: OnProgress
}

export interface ScrubReport {
  /** What this and earlier scrubs found and none has found well since. */
  readonly findings: readonly Finding[]
  readonly counts: Readonly<Partial<Record<FindingKind, number>>>
  readonly total: number
  /** Parts and contents of the database that were opened, with what was opened before it was interrupted. */
  readonly objects: number
  readonly bytes: number
  readonly startedAt: number
  /** Null when it was stopped before its end. */
  readonly finishedAt: number | null
  /** Whether it went on with an interrupted one. */
  readonly resumed: boolean
}

export interface Scrub {
  /**
   * Opens every chunk of all parts and all content of the database, in the order of blobs.
   *
   * @throws ScrubError when another one runs
   */
  run(options: ScrubOptions): Promise<ScrubReport>
  /** Whether none runs, and one was interrupted or the last is so long ago that the next should begin. */
  isDue(): Promise<boolean>
}

export function createScrub(
  database: Database,
  store: BlobStore,
  keyring: Keyring,
  clock: Clock,
): Scrub {
  return {
    async isDue() {
      const state = await readScrubState(database.read)
      if (state?.lease && state.lease.until > clock()) return false
      return !state?.finishedAt || state.position !== null || state.finishedAt + EVERY_MS <= clock()
    },

    async run(options) {
      const lease = await takeLease(database, clock, options)
      const pass = createPass({ database, store, keyring }, lease, options)
      let isAtEnd = false
      try {
        isAtEnd = await pass.run()
        if (isAtEnd) await forgetGone(database)
      } finally {
        await lease.giveBack(isAtEnd)
      }
      return reportOf(database, lease, options.most)
    },
  }
}

/** The right to scrub, which one process has at a time, and how far it has come. */
interface Lease {
  readonly state: ScrubState
  readonly resumed: boolean
  /** Writes down how far it has come, if that is due. @returns false when another one took over */
  keep(position: ScrubPosition): Promise<boolean>
  giveBack(isAtEnd: boolean): Promise<void>
}

async function takeLease(
  database: Database,
  clock: Clock,
  { background = false, restart = false }: ScrubOptions,
): Promise<Lease> {
  const holder = randomUUID()
  const newLease = () => ({ holder, until: clock() + LEASE_MS, background })
  let saved = performance.now()
  let isMine = true

  const { state, resumed } = await database.write(async (writer) => {
    const before = await readScrubState(writer)
    const other = before?.lease
    const givesWay = other?.background && !background
    if (other && other.until > clock() && !givesWay) {
      throw new ScrubError('another scrub of this store is running')
    }
    const goesOn = !restart && before?.position ? before : undefined
    const begun: ScrubState = {
      startedAt: clock(),
      finishedAt: before?.finishedAt ?? null,
      position: START,
      objects: 0,
      bytes: 0,
      ...goesOn,
      lease: newLease(),
    }
    await writeScrubState(writer, begun)
    return { state: begun, resumed: goesOn !== undefined }
  })

  /** Writes the state, unless another one has taken over. */
  async function save(lease: ScrubState['lease']): Promise<void> {
    await database.write(async (writer) => {
      const now = await readScrubState(writer)
      isMine = now?.lease?.holder === holder
      if (!isMine) return
      state.lease = lease
      await writeScrubState(writer, state)
    })
  }

  return {
    state,
    resumed,
    async keep(position) {
      state.position = position
      if (performance.now() - saved < SAVE_EVERY_MS) return true
      saved = performance.now()
      await save(newLease())
      return isMine
    },
    async giveBack(isAtEnd) {
      if (!isMine) return
      if (isAtEnd) {
        state.position = null
        state.finishedAt = clock()
      }
      await save(null)
    },
  }
}

/** Thrown inside a pass that has to stop. */
const STOPPED = Symbol('stopped')

function createPass(
  parts: { database: Database; store: BlobStore; keyring: Keyring },
  lease: Lease,
  options: ScrubOptions,
): { run(): Promise<boolean> } {
  const { database, store, keyring } = parts
  const { state } = lease
  const { signal, onFinding, onOpened, onProgress } = options
  const checks = createPartChecks(database, store, keyring)
  const smallColumn = sealedBytes(keyring, 'small_content')
  const throttle = createThrottle(options.rate, signal)
  let known = new Set<string>()
  let totalBytes = 0

  /** Counts what was opened, and waits as the rate wants it. */
  async function advance(position: ScrubPosition, bytes: number): Promise<void> {
    state.bytes += bytes
    onOpened?.(bytes)
    onProgress?.('content', state.bytes, Math.max(state.bytes, totalBytes), 'bytes')
    if (!(await lease.keep(position)) || signal?.aborted) throw STOPPED
    await throttle(bytes)
    if (signal?.aborted) throw STOPPED
  }

  /** Looks at content from where an interrupted scrub was, and at all of it the next time. */
  function lookFrom(blobId: string, number: number): Look {
    const { position } = state
    let offset = position?.blobId === blobId && position.number === number ? position.offset : 0
    return async (part) => {
      const start = offset
      let opened = start
      offset = 0
      for await (const chunk of readPart(store, keyring, part, start, part.plainSize)) {
        const { byteLength } = chunk
        free(chunk)
        opened += byteLength
        await advance({ blobId, number, offset: opened }, byteLength)
      }
    }
  }

  async function scrubPart(row: Row<'blob_part'>): Promise<void> {
    const { blob_id: blobId, number } = row
    const found = await checks.check(row, lookFrom(blobId, number))
    const kind = found?.kind === 'mismatched' && found.object ? 'damaged' : found?.kind
    await note(blobId, number, found && kind && { ...found, kind })
    state.objects += 1
    await advance({ blobId, number: number + 1, offset: 0 }, 0)
  }

  async function scrubSmall(blobId: string): Promise<void> {
    const row = await database.read
      .selectFrom('small_content')
      .innerJoin('blob', 'blob.id', 'small_content.blob_id')
      .select(['small_content.sealed', 'blob.size'])
      .where('blob.id', '=', blobId)
      .executeTakeFirst()
    if (!row) return
    const wrong = wrongSmallContent(keyring, smallColumn, blobId, row.sealed, row.size)
    await note(blobId, 0, wrong && { ...wrong, table: 'small_content', id: blobId })
    state.objects += 1
    await advance({ blobId, number: 1, offset: 0 }, row.size)
  }

  /** Remembers a finding, or that there is none any more. */
  async function note(blobId: string, number: number, finding: Finding | undefined): Promise<void> {
    const key = `${blobId}.${number}`
    if (!finding && !known.has(key)) return
    await database.write(async (writer) => {
      await writer
        .deleteFrom('scrub_finding')
        .where('blob_id', '=', blobId)
        .where('number', '=', number)
        .execute()
      if (!finding) return
      await writer
        .insertInto('scrub_finding')
        .values({
          blob_id: blobId,
          number,
          kind: finding.kind,
          object: finding.object ?? null,
          message: finding.text,
        })
        .execute()
    })
    if (finding) onFinding?.(finding)
  }

  async function scrubBlob(blobId: string): Promise<void> {
    const first = state.position?.blobId === blobId ? state.position.number : 0
    if (first === 0) await scrubSmall(blobId)
    const after = { blob_id: blobId, number: first - 1 }
    for await (const page of pages<Row<'blob_part'>>(PAGE, (last) =>
      database.read
        .selectFrom('blob_part')
        .selectAll()
        .where('blob_id', '=', blobId)
        .where(behind('blob_part', last ?? after))
        .orderBy('number')
        .limit(PAGE)
        .execute(),
    )) {
      for (const row of page) await scrubPart(row)
    }
  }

  return {
    /** @returns whether it came to the end */
    async run() {
      known = await knownFindings(database)
      totalBytes = await bytesOf(database)
      const from = state.position?.blobId ?? ''
      try {
        for await (const page of pages<{ id: string }>(PAGE, (last) =>
          database.read
            .selectFrom('blob')
            .select('id')
            .where('state', '<>', 'deleting')
            .where('id', last ? '>' : '>=', last?.id ?? from)
            .orderBy('id')
            .limit(PAGE)
            .execute(),
        )) {
          for (const { id } of page) await scrubBlob(id)
        }
        return true
      } catch (error) {
        if (error === STOPPED) return false
        throw error
      }
    },
  }
}

/** Waits so that no more than `rate` bytes a second pass, and lets others have a turn in any case. */
function createThrottle(
  rate: number,
  signal: AbortSignal | undefined,
): (bytes: number) => Promise<void> {
  let debtMs = 0
  let last = performance.now()
  return async (bytes) => {
    if (rate === 0) return turn()
    const now = performance.now()
    debtMs = Math.max(debtMs - (now - last), -LONGEST_DEBT_MS) + (bytes / rate) * 1000
    last = now
    if (debtMs <= 0) return turn()
    // Who aborts has no time to wait, and sees to the end itself.
    await delay(debtMs, undefined, { signal }).catch(() => undefined)
  }
}

async function knownFindings({ read }: Database): Promise<Set<string>> {
  const rows = await read.selectFrom('scrub_finding').select(['blob_id', 'number']).execute()
  return new Set(rows.map(({ blob_id, number }) => `${blob_id}.${number}`))
}

async function bytesOf({ read }: Database): Promise<number> {
  const { bytes } = await read
    .selectFrom('blob')
    .select((eb) => eb.fn.coalesce(eb.fn.sum<number>('size'), eb.lit(0)).as('bytes'))
    .where('state', '<>', 'deleting')
    .executeTakeFirstOrThrow()
  return bytes
}

/** Findings about blobs that were deleted since. */
async function forgetGone(database: Database): Promise<void> {
  await database.write((writer) =>
    writer
      .deleteFrom('scrub_finding')
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(selectFrom('blob').select('id').whereRef('blob.id', '=', 'scrub_finding.blob_id')),
        ),
      )
      .execute(),
  )
}

async function reportOf(database: Database, lease: Lease, most: number): Promise<ScrubReport> {
  const { state, resumed } = lease
  const findings = createFindings(most)
  for await (const page of livingRows(database, 'scrub_finding')) {
    for (const row of page) findings.add(rememberedFinding(row))
  }
  return {
    findings: findings.list,
    counts: findings.counts,
    total: findings.total(),
    objects: state.objects,
    bytes: state.bytes,
    startedAt: state.startedAt,
    finishedAt: state.position === null ? state.finishedAt : null,
    resumed,
  }
}

function rememberedFinding({
  blob_id,
  number,
  kind,
  object,
  message,
}: Row<'scrub_finding'>): Finding {
  const place =
    number === 0
      ? { table: 'small_content', id: blob_id }
      : { table: 'blob_part', id: `${blob_id}.${number}` }
  return { kind, text: message, ...place, ...(object !== null && { object }) }
}
