import type { BlobChanges, Blobs, StagedBlob, StoredBlob } from '../blobs/blobs.ts'
import type { ReceivedBlobs, StagedPart } from '../blobs/received.ts'
import type { Database, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import { failpoint } from '../failpoints.ts'
import type { PreviewJobs } from '../previews/jobs.ts'
import type { Previews } from '../previews/previews.ts'
import type { CompanyFileText } from '../schema.ts'
import type { CompanyContent } from './content.ts'
import type { CompanyQuota } from './quota.ts'
import {
  type CompanyCaller,
  type CompanyFile,
  type CompanyRecord,
  type CompanyRecords,
  finalText,
  learn,
  NOTHING_TOLD,
  type UploadClaim,
} from './records.ts'
import { agreedTotals, numberOf, overwriteChunks, requireTotal } from './totals.ts'
import type { CompanyUploads } from './uploads.ts'

/** A part of an upload. */
interface PartChunk {
  readonly kind: 'part'
  readonly part: StagedPart
  /** Whether the file holds the very same already. */
  readonly repeats: boolean
}

/** A whole content, to take the place of the old one. */
interface ContentChunk {
  readonly kind: 'content'
  readonly staged: StagedBlob
}

/** Bytes that have arrived and have changed nothing yet: to be accepted or dropped. */
export type ReceivedChunk = PartChunk | ContentChunk | { readonly kind: 'retry' }

/**
 * Bytes that are sent to a file, in any order and at the same time.
 *
 * Until the file is whole the last complete copy of a chunk counts. To a whole file a person can only
 * repeat what it holds; an application overwrites it, at once or with chunks that take the place of
 * the old content all together.
 */
export interface CompanyChunks {
  /**
   * Takes bytes in; nothing of them is visible.
   *
   * @throws CoreError company_file_not_found, company_file_forbidden for other bytes than a whole file
   *   holds, upload_mismatch for other totals than were announced, quota_exceeded, file_too_large, or
   *   what `source` throws
   */
  receive(
    caller: CompanyCaller,
    fileId: string,
    claim: UploadClaim,
    source: AsyncIterable<Uint8Array>,
  ): Promise<ReceivedChunk>
  /**
   * Makes them count, or drops them. With the last chunk that was missing the file is whole.
   *
   * @throws CoreError as `receive` does; upload_mismatch also for a last chunk with which all of them
   *   are not as large as was announced: it stays missing
   */
  accept(
    caller: CompanyCaller,
    fileId: string,
    claim: UploadClaim,
    chunk: ReceivedChunk,
  ): Promise<CompanyFile>
  drop(chunk: ReceivedChunk): Promise<void>
}

export function createCompanyChunks(parts: {
  database: Database
  blobs: Blobs
  received: ReceivedBlobs
  records: CompanyRecords
  uploads: CompanyUploads
  content: CompanyContent
  quota: CompanyQuota
  previews: Previews
  previewJobs: PreviewJobs
}): CompanyChunks {
  const { database, blobs, received, records, uploads, content, quota } = parts
  const { previews, previewJobs } = parts

  /** To a file that is not whole. */
  async function receivePart(
    caller: CompanyCaller,
    upload: NonNullable<CompanyRecord['upload']>,
    claim: UploadClaim,
    source: AsyncIterable<Uint8Array>,
  ): Promise<PartChunk> {
    const { size } = agreedTotals(upload, claim)
    const announced = upload.total_size ?? 0
    const room = announced + Math.max(0, await quota.room(database.read, caller.companyId))
    if ((size ?? 0) > room) throw new CoreError('quota_exceeded', 'no room for the announced size')
    const part = await received.stage(upload.blob_id, numberOf(claim), source, room)
    return { kind: 'part', part, repeats: false }
  }

  /** To a whole file, by an application. */
  async function receiveOverwrite(
    caller: CompanyCaller,
    record: CompanyRecord,
    claim: UploadClaim,
    source: AsyncIterable<Uint8Array>,
  ): Promise<ReceivedChunk> {
    const { file, size } = record
    const total_chunks = overwriteChunks(claim, file.chunks)
    const room = Math.max(0, await quota.room(database.read, caller.companyId))
    if (total_chunks === 1 && numberOf(claim) === 1) {
      return { kind: 'content', staged: await blobs.stage(source, room + (size ?? 0)) }
    }
    agreedTotals({ total_chunks, total_size: null }, claim)
    const blobId = await uploads.overwrite(caller, file.id, claim)
    const { result, same } = await content.compare(record, claim, source, (bytes) =>
      received.stage(blobId, numberOf(claim), bytes, room + (claim.totalSize ?? 0)),
    )
    return { kind: 'part', part: result, repeats: same }
  }

  /** @returns undefined when the upload that the part belongs to is not open any more */
  function acceptPart(
    caller: CompanyCaller,
    fileId: string,
    claim: UploadClaim,
    { part, repeats }: PartChunk,
  ): Promise<CompanyFile | undefined> {
    return blobs.changing(async (writer, changes) => {
      const record = await records.find(writer, caller, fileId)
      const { upload } = record
      if (upload?.blob_id !== part.blobId) return undefined
      const totals = agreedTotals(upload, claim)
      await received.put(writer, changes, part)
      const { parts: count, size } = await received.total(writer, part.blobId)
      const text = learn(records.uploadText(record), claim, 'chunk')
      if (count < totals.chunks) {
        const { chunks: totalChunks, size: totalSize } = totals
        await uploads.goOn(
          writer,
          { file: record.file, upload },
          { totalChunks, totalSize, differs: !repeats, text },
        )
      } else {
        requireTotal(size, totals)
        await received.finish(writer, part.blobId, { parts: count, size })
        await writer.deleteFrom('company_upload').where('file_id', '=', fileId).execute()
        const newText = finalText(text, records.fileText(record))
        await replaceContent(writer, changes, record, {
          ...{ id: part.blobId, size },
          ...{ chunks: totals.chunks, text: newText },
        })
      }
      // What was announced has been counted already.
      const grows = Math.max(size, totals.size ?? 0) > (upload.total_size ?? 0)
      if (grows) await quota.require(writer, caller.companyId)
      return records.view(await records.find(writer, caller, fileId))
    })
  }

  async function replaceContent(
    writer: Writer,
    changes: BlobChanges,
    { file }: CompanyRecord,
    content: StoredBlob & { chunks: number; text: CompanyFileText },
  ): Promise<void> {
    const { id: blobId, chunks, text } = content
    const replaced = { id: file.id, companyId: file.company_id }
    await records.setContent(writer, replaced, { blobId, chunks, text })
    await previews.renew(writer, changes.release, replaced, content)
    if (!file.blob_id) return
    await changes.replace(file.blob_id)
    await failpoint('content.replaced')
  }

  function acceptContent(
    caller: CompanyCaller,
    fileId: string,
    claim: UploadClaim,
    { staged }: ContentChunk,
  ): Promise<CompanyFile> {
    return blobs.keep(staged, async (writer, changes) => {
      const record = await records.find(writer, caller, fileId)
      const text = finalText(learn(NOTHING_TOLD, claim, 'chunk'), records.fileText(record))
      await replaceContent(writer, changes, record, {
        ...{ id: staged.id, size: staged.size },
        ...{ chunks: 1, text },
      })
      await quota.require(writer, caller.companyId)
      return records.view(await records.find(writer, caller, fileId))
    })
  }

  /** The file became whole or was overwritten while the chunk was on its way: it is a retry or too late. */
  async function acceptLate(
    caller: CompanyCaller,
    fileId: string,
    claim: UploadClaim,
    part: StagedPart,
  ): Promise<CompanyFile> {
    try {
      const record = await records.find(database.read, caller, fileId)
      await content.requireSame(record, claim, received.read(part))
      return records.view(record)
    } finally {
      await received.discard(part)
    }
  }

  async function acceptAny(
    caller: CompanyCaller,
    fileId: string,
    claim: UploadClaim,
    chunk: ReceivedChunk,
  ): Promise<CompanyFile> {
    if (chunk.kind === 'content') return acceptContent(caller, fileId, claim, chunk)
    if (chunk.kind === 'retry') {
      return records.view(await records.find(database.read, caller, fileId))
    }
    try {
      const file = await acceptPart(caller, fileId, claim, chunk)
      if (file) return file
    } catch (error) {
      await received.discardAfter(chunk.part, error)
      throw error
    }
    return acceptLate(caller, fileId, claim, chunk.part)
  }

  return {
    async receive(caller, fileId, claim, source) {
      const record = await records.find(database.read, caller, fileId)
      const { file, upload, role } = record
      if (file.blob_id === null && upload) return receivePart(caller, upload, claim, source)
      if (role === 'application') return receiveOverwrite(caller, record, claim, source)
      await content.requireSame(record, claim, source)
      return { kind: 'retry' }
    },

    async accept(caller, fileId, claim, chunk) {
      const file = await acceptAny(caller, fileId, claim, chunk)
      if (file.whole && file.previewState === 'waiting') previewJobs.announce()
      return file
    },

    async drop(chunk) {
      if (chunk.kind === 'part') await received.discard(chunk.part)
      if (chunk.kind === 'content') await blobs.discard(chunk.staged)
    },
  }
}
