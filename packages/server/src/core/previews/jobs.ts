import { EventEmitter } from 'node:events'
import type { BlobChanges, Blobs, StagedBlob, StoredBlob } from '../blobs/blobs.ts'
import { requireLink } from '../blobs/links.ts'
import type { Clock } from '../clock.ts'
import { companyFileColumn } from '../company-files/records.ts'
import type { Database, Reader, Writer } from '../database.ts'
import { failpoint } from '../failpoints.ts'
import type { Keyring } from '../keys/keyring.ts'
import type { PreviewText, Row } from '../schema.ts'
import type { PreviewFormat } from './formats.ts'
import type { PreviewedFile, Previews } from './previews.ts'

/** How long a process that makes a preview may be silent before another one takes the job. */
export const LEASE_MS = 20_000
/** A file whose previews end the process that makes them is given up after so many. */
const MOST_ATTEMPTS = 3
/** A job that could not be done through no fault of the file's is tried again after this. */
const RETRY_MS = 60_000
/** Somebody who waits for a preview is answered after this, with or without it. */
const LONGEST_WAIT_MS = 10_000
/** Within which those who wait learn what another process has done. */
const OTHERS_POLL_MS = 250

/** Which jobs a worker takes: those that need a program of the operating system are slow. */
export type PreviewPace = 'quick' | 'slow'

/** A job that this process has leased. */
export interface PreviewJob {
  readonly file: PreviewedFile
  readonly format: PreviewFormat
  /** What to show; replaced in the meantime perhaps, and then `finish` drops the result. */
  readonly blob: StoredBlob
  readonly owner: string
}

/** A preview that was made. */
export interface PreviewPage extends PreviewText {
  readonly staged: StagedBlob
}

/** The work of making previews, shared by any number of processes through the database. */
export interface PreviewJobs {
  /** Bytes; larger files are not looked at. 0 when previews are off. */
  readonly maxBytes: number
  /**
   * Leases the oldest job that nobody works at, and counts the attempt before it begins.
   *
   * @param owner the process that takes it
   */
  take(owner: string, pace: PreviewPace): Promise<PreviewJob | undefined>
  /** Keeps a job leased for another `LEASE_MS`. */
  renew(job: PreviewJob): Promise<void>
  /** Gives the file its previews, or drops them when the job is not the owner's any more. */
  finish(job: PreviewJob, pages: readonly PreviewPage[]): Promise<void>
  /** Remembers that the file cannot be shown. */
  fail(job: PreviewJob): Promise<void>
  /** Lets others try again: at once when the worker was stopped, or a while after it broke. */
  giveBack(job: PreviewJob, why: 'stopped' | 'broken' | 'died'): Promise<void>
  /** How many wait, and how many failed. */
  count(): Promise<{ waiting: number; failed: number }>
  /** Says that there is work; without it, workers look every few seconds. */
  announce(): void
  /** @returns ends the listening */
  onWork(listener: () => void): () => void
  /** Settles when the previews of a file are there or have failed; after 10 seconds at the latest. */
  settled(fileId: string, signal: AbortSignal): Promise<void>
  /** Lets everybody go who waits. */
  stop(): void
}

export function createPreviewJobs(parts: {
  database: Database
  keyring: Keyring
  clock: Clock
  blobs: Blobs
  previews: Previews
}): PreviewJobs {
  const { database, keyring, clock, blobs, previews } = parts
  const fileColumn = companyFileColumn(keyring)
  const signals = new EventEmitter().setMaxListeners(0)
  const stopping = new AbortController()

  function ended(fileId: string): void {
    signals.emit(`ended ${fileId}`)
  }

  function waiting(reader: Reader, pace: PreviewPace) {
    return reader
      .selectFrom('preview_job')
      .selectAll()
      .where('state', '=', 'waiting')
      .where('slow', '=', pace === 'slow' ? 1 : 0)
      .where('leased_until', '<=', clock())
      .orderBy('created_at')
      .limit(1)
  }

  /** The row of a job that is still the owner's: nobody took it over, nothing was overwritten. */
  function ownRow(
    writer: Writer,
    { file, blob, owner }: PreviewJob,
  ): Promise<Row<'preview_job'> | undefined> {
    return writer
      .selectFrom('preview_job')
      .selectAll()
      .where('file_id', '=', file.id)
      .where('blob_id', '=', blob.id)
      .where('lease_owner', '=', owner)
      .executeTakeFirst()
  }

  async function update(
    job: PreviewJob,
    change: (row: Row<'preview_job'>) => Partial<Row<'preview_job'>>,
  ): Promise<void> {
    await database.write(async (writer) => {
      const row = await ownRow(writer, job)
      if (!row) return
      await writer
        .updateTable('preview_job')
        .set(change(row))
        .where('file_id', '=', row.file_id)
        .execute()
    })
  }

  /** What a leased row is about; undefined for a file that nobody here shows any more. */
  async function jobOf(
    writer: Writer,
    row: Row<'preview_job'>,
    owner: string,
  ): Promise<PreviewJob | undefined> {
    const found = await writer
      .selectFrom('company_file')
      .innerJoin('blob', 'blob.id', 'company_file.blob_id')
      .select(['company_file.company_id', 'company_file.sealed', 'blob.size'])
      .where('company_file.id', '=', row.file_id)
      .where('company_file.blob_id', '=', row.blob_id)
      .executeTakeFirst()
    if (!found?.sealed) return undefined
    const file = { id: row.file_id, companyId: found.company_id }
    const { blobId, ...text } = fileColumn.open(file.id, file.companyId, found.sealed)
    requireLink(row.blob_id, blobId)
    const format = previews.formatOf(text, found.size)
    return format && { file, format, blob: { id: row.blob_id, size: found.size }, owner }
  }

  async function isWaiting(fileId: string): Promise<boolean> {
    const row = await database.read
      .selectFrom('preview_job')
      .select('file_id')
      .where('file_id', '=', fileId)
      .where('state', '=', 'waiting')
      .executeTakeFirst()
    return row !== undefined
  }

  /** Settles when a job of this process has ended, or when it is time to look at what others did. */
  function changed(fileId: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      function end(): void {
        clearTimeout(timer)
        signals.off(`ended ${fileId}`, end)
        signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = setTimeout(end, OTHERS_POLL_MS)
      signals.once(`ended ${fileId}`, end)
      signal.addEventListener('abort', end)
    })
  }

  async function lease(owner: string, pace: PreviewPace): Promise<PreviewJob | 'nothing' | 'next'> {
    return database.write(async (writer) => {
      const row = await waiting(writer, pace).executeTakeFirst()
      if (!row) return 'nothing'
      const change = writer.updateTable('preview_job').where('file_id', '=', row.file_id)
      if (row.attempts >= MOST_ATTEMPTS) {
        await change.set({ state: 'failed', lease_owner: null }).execute()
        return 'next'
      }
      const job = await jobOf(writer, row, owner)
      if (!job) {
        // Nobody can show it any more, since a setting or the machine was changed.
        await writer.deleteFrom('preview_job').where('file_id', '=', row.file_id).execute()
        return 'next'
      }
      await change
        .set({
          attempts: row.attempts + 1,
          lease_owner: owner,
          leased_until: clock() + LEASE_MS,
        })
        .execute()
      return job
    })
  }

  return {
    maxBytes: previews.maxBytes,

    async take(owner, pace) {
      for (;;) {
        // Idle processes only read.
        const row = await waiting(database.read, pace).executeTakeFirst()
        if (!row) return undefined
        const job = await lease(owner, pace)
        await failpoint('preview.leased')
        if (job === 'nothing') return undefined
        if (job !== 'next') return job
        ended(row.file_id)
      }
    },

    renew: (job) => update(job, () => ({ leased_until: clock() + LEASE_MS })),

    async finish(job, pages) {
      const link = async (writer: Writer, { release }: BlobChanges) => {
        if (await ownRow(writer, job)) {
          await previews.forget(writer, release, job.file.id)
          await previews.add(writer, job.file, pages)
        } else {
          for (const { staged } of pages) await release(staged.id)
        }
      }
      await failpoint('preview.made')
      await blobs.keepAll(
        pages.map(({ staged }) => staged),
        link,
      )
      await failpoint('preview.kept')
      ended(job.file.id)
    },

    async fail(job) {
      await update(job, () => ({ state: 'failed', lease_owner: null }))
      ended(job.file.id)
    },

    giveBack: (job, why) =>
      update(job, ({ attempts }) => ({
        lease_owner: null,
        leased_until: why === 'broken' ? clock() + RETRY_MS : 0,
        // That the worker was stopped says nothing of the file.
        attempts: why === 'stopped' ? attempts - 1 : attempts,
      })),

    async count() {
      const rows = await database.read
        .selectFrom('preview_job')
        .select((eb) => ['state', eb.fn.countAll<number>().as('count')])
        .groupBy('state')
        .execute()
      const of = (state: string) => rows.find((row) => row.state === state)?.count ?? 0
      return { waiting: of('waiting'), failed: of('failed') }
    },

    announce: () => {
      signals.emit('work')
    },

    onWork(listener) {
      signals.on('work', listener)
      return () => signals.off('work', listener)
    },

    async settled(fileId, signal) {
      const timeout = AbortSignal.timeout(LONGEST_WAIT_MS)
      const limit = AbortSignal.any([signal, stopping.signal, timeout])
      while (!limit.aborted && (await isWaiting(fileId))) await changed(fileId, limit)
    },

    stop: () => stopping.abort(),
  }
}
