import type { Blobs, Release } from '../blobs/blobs.ts'
import type { ReceivedBlobs, ReceivedPart } from '../blobs/received.ts'
import type { Clock } from '../clock.ts'
import type { Database, Writer } from '../database.ts'
import { failpoint } from '../failpoints.ts'
import type { CompanyUploadText, Row } from '../schema.ts'
import type { CompanyQuota } from './quota.ts'
import {
  type CompanyCaller,
  type CompanyFile,
  type CompanyRecord,
  type CompanyRecords,
  learn,
  NOTHING_TOLD,
  type UploadClaim,
} from './records.ts'
import { fits, numberOf, overwriteChunks } from './totals.ts'

/**
 * How long an overwrite is remembered that so far repeats what the file holds: it may be an
 * overwrite's beginning, or the retry of an application that did not hear that its upload was whole.
 */
const REPEATED_MS = 15 * 60 * 1000

/** How far an upload is. */
export interface UploadState {
  readonly whole: boolean
  /** Null when nobody has said, like `totalSize`. */
  readonly totalChunks: number | null
  /** Bytes. */
  readonly totalSize: number | null
  /** When it is forgotten if nothing more comes, in milliseconds since the epoch; null for a whole file. */
  readonly expiresAt: number | null
  /** In their order. */
  readonly chunks: readonly ReceivedPart[]
}

/** What changes with a chunk. */
export interface UploadProgress {
  readonly totalChunks: number
  readonly totalSize: number | null
  /** Whether the chunk differs from what the file held before. */
  readonly differs: boolean
  readonly text: CompanyUploadText
}

/** Uploads in chunks: announced, resumed, and forgotten when nobody goes on. */
export interface CompanyUploads {
  /** @throws CoreError company_not_found, quota_exceeded */
  begin(caller: CompanyCaller, claim: UploadClaim): Promise<CompanyFile>
  /**
   * Finds or begins an application's overwrite of a whole file in chunks. One whose totals are other
   * ones, or that is another application's, is given up: the newest intention counts.
   *
   * @returns the blob that its chunks belong to
   * @throws CoreError company_file_not_found, quota_exceeded
   */
  overwrite(caller: CompanyCaller, fileId: string, claim: UploadClaim): Promise<string>
  /** Remembers what came with a chunk after which others are missing. */
  goOn(
    writer: Writer,
    rows: { file: Row<'company_file'>; upload: Row<'company_upload'> },
    progress: UploadProgress,
  ): Promise<void>
  /** @throws CoreError company_file_not_found */
  state(caller: CompanyCaller, fileId: string): Promise<UploadState>
  /**
   * Whether a chunk need not be sent any more.
   *
   * @param size bytes that the client has for it, when it says so
   * @throws CoreError company_file_not_found
   */
  has(
    caller: CompanyCaller,
    fileId: string,
    claim: UploadClaim,
    size: number | undefined,
  ): Promise<boolean>
  /** Forgets uploads whose time is over; answers how many. */
  expire(): Promise<number>
}

export function createCompanyUploads(parts: {
  database: Database
  clock: Clock
  blobs: Blobs
  received: ReceivedBlobs
  records: CompanyRecords
  quota: CompanyQuota
  /** Milliseconds after the last chunk. */
  uploadExpiry: number
}): CompanyUploads {
  const { database, clock, blobs, received, records, quota, uploadExpiry } = parts

  async function insert(
    writer: Writer,
    caller: CompanyCaller,
    fileId: string,
    upload: Pick<Row<'company_upload'>, 'total_chunks' | 'differs'> & {
      claim: UploadClaim
      text: CompanyUploadText
    },
  ): Promise<string> {
    const blobId = await received.begin(writer)
    await writer
      .insertInto('company_upload')
      .values({
        file_id: fileId,
        blob_id: blobId,
        maker_id: caller.identityId,
        total_chunks: upload.total_chunks,
        total_size: upload.claim.totalSize ?? null,
        differs: upload.differs,
        sealed: records.sealUpload(
          { file_id: fileId, blob_id: blobId },
          caller.companyId,
          upload.text,
        ),
        expires_at: clock() + uploadExpiry,
      })
      .execute()
    await quota.require(writer, caller.companyId)
    return blobId
  }

  function isContinued(
    upload: Row<'company_upload'>,
    caller: CompanyCaller,
    claim: UploadClaim,
  ): boolean {
    const { maker_id, expires_at, total_chunks, total_size } = upload
    const isOpen = maker_id === caller.identityId && expires_at > clock()
    return isOpen && fits(claim, total_chunks, total_size)
  }

  /** The upload that the caller's chunks belong to: an overwrite is its application's alone. */
  function ownUpload({ file, upload }: CompanyRecord, caller: CompanyCaller) {
    if (!upload || file.blob_id === null) return upload
    return isContinued(upload, caller, {}) ? upload : undefined
  }

  async function forget(fileId: string): Promise<boolean> {
    return blobs.unlinking(async (writer, release) => {
      const upload = await writer
        .deleteFrom('company_upload')
        .where('file_id', '=', fileId)
        .where('expires_at', '<=', clock())
        .returning('blob_id')
        .executeTakeFirst()
      if (!upload) return false
      await writer
        .deleteFrom('company_file')
        .where('id', '=', fileId)
        .where('blob_id', 'is', null)
        .execute()
      await release(upload.blob_id)
      return true
    })
  }

  /** Of a file without content none. */
  async function chunksOf(record: CompanyRecord): Promise<ReceivedPart[]> {
    if (record.file.blob_id === null) return []
    return received.chunks(database.read, records.contentOf(record), record.file.chunks)
  }

  return {
    begin: (caller, claim) =>
      database.write(async (writer) => {
        await records.requireMember(writer, caller)
        const { id: fileId } = await records.insert(writer, caller)
        const text = learn(NOTHING_TOLD, claim, 'init')
        const total_chunks = claim.totalChunks ?? null
        await insert(writer, caller, fileId, { total_chunks, differs: 1, claim, text })
        return records.view(await records.find(writer, caller, fileId))
      }),

    overwrite: (caller, fileId, claim) =>
      blobs.unlinking(async (writer, release) => {
        const { upload, file } = await records.find(writer, caller, fileId)
        if (upload && isContinued(upload, caller, claim)) return upload.blob_id
        if (upload) await remove(writer, release, upload)
        const total_chunks = overwriteChunks(claim, file.chunks)
        return insert(writer, caller, fileId, {
          total_chunks,
          differs: 0,
          claim,
          text: NOTHING_TOLD,
        })
      }),

    async goOn(writer, { file, upload }, { totalChunks, totalSize, differs, text }) {
      const now = clock()
      const isRepeated = upload.differs === 0 && !differs
      await writer
        .updateTable('company_upload')
        .set({
          total_chunks: totalChunks,
          total_size: totalSize,
          differs: isRepeated ? 0 : 1,
          sealed: records.sealUpload(upload, file.company_id, text),
          expires_at: now + (isRepeated ? Math.min(REPEATED_MS, uploadExpiry) : uploadExpiry),
        })
        .where('file_id', '=', file.id)
        .execute()
      if (file.blob_id !== null) return
      await writer
        .updateTable('company_file')
        .set({ updated_at: now })
        .where('id', '=', file.id)
        .execute()
    },

    async state(caller, fileId) {
      const record = await records.find(database.read, caller, fileId)
      const { file, size } = record
      const upload = ownUpload(record, caller)
      return {
        whole: upload === undefined,
        totalChunks: upload ? upload.total_chunks : file.chunks,
        totalSize: upload ? upload.total_size : size,
        expiresAt: upload?.expires_at ?? null,
        chunks: upload
          ? await received.parts(database.read, upload.blob_id)
          : await chunksOf(record),
      }
    },

    async has(caller, fileId, claim, size) {
      const record = await records.find(database.read, caller, fileId)
      const { file, role } = record
      const upload = ownUpload(record, caller)
      // What an application sends to a whole file begins an overwrite: none of it is there.
      if (!upload && role === 'application') return false
      const isSame = upload
        ? fits(claim, upload.total_chunks, upload.total_size)
        : fits(claim, file.chunks, record.size)
      if (!isSame) return false
      const number = numberOf(claim)
      const chunk = upload
        ? await received.part(database.read, upload.blob_id, number)
        : (await chunksOf(record)).at(number - 1)
      return chunk !== undefined && (size === undefined || size === chunk.size)
    },

    async expire() {
      const rows = await database.read
        .selectFrom('company_upload')
        .select('file_id')
        .where('expires_at', '<=', clock())
        .execute()
      let expired = 0
      for (const row of rows) {
        if (await forget(row.file_id)) expired += 1
        await failpoint('upload.expired')
      }
      return expired
    },
  }
}

async function remove(
  writer: Writer,
  release: Release,
  upload: Row<'company_upload'>,
): Promise<void> {
  await writer.deleteFrom('company_upload').where('file_id', '=', upload.file_id).execute()
  await release(upload.blob_id)
}
