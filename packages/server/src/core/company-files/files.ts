import type { Blobs, StagedBlob, StoredBlob } from '../blobs/blobs.ts'
import type { Database } from '../database.ts'
import { CoreError } from '../errors.ts'
import { prepare } from '../prepared.ts'
import type { PreviewJobs } from '../previews/jobs.ts'
import type { Preview, Previews } from '../previews/previews.ts'
import type { CompanyFileText } from '../schema.ts'
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

/** The content of a file, kept readable until it is closed even when the file is overwritten. */
export interface OpenCompanyFile {
  readonly text: CompanyFileText
  readonly blob: StoredBlob
  /** May be called more than once. */
  close(): void
}

/**
 * Files of companies. Everybody in a company reads and completes them; whole files are overwritten by
 * the company's applications only. To strangers they are not there.
 */
export interface CompanyFiles {
  /** Bytes that a new file may have. @throws CoreError company_not_found */
  room(caller: CompanyCaller): Promise<number>
  /** Makes a file of staged bytes, or drops them. @throws CoreError company_not_found, quota_exceeded */
  create(caller: CompanyCaller, claim: UploadClaim, staged: StagedBlob): Promise<CompanyFile>
  /** @throws CoreError company_file_not_found */
  get(caller: CompanyCaller, fileId: string): Promise<CompanyFile>
  /** @throws CoreError company_file_not_found, company_file_incomplete */
  open(caller: CompanyCaller, fileId: string): Promise<OpenCompanyFile>
  /**
   * A preview, which everybody may see who may see the file.
   *
   * @param position from 0
   * @throws CoreError company_file_not_found, preview_not_found
   */
  preview(caller: CompanyCaller, fileId: string, position: number): Promise<Preview>
  /**
   * Removes a file with its previews and its content, or what has come of it: what one made oneself; as owner or
   * manager also what others made.
   *
   * @throws CoreError company_file_not_found, company_file_forbidden
   */
  remove(caller: CompanyCaller, fileId: string): Promise<void>
}

export function createCompanyFiles(parts: {
  database: Database
  blobs: Blobs
  records: CompanyRecords
  quota: CompanyQuota
  previews: Previews
  previewJobs: PreviewJobs
}): CompanyFiles {
  const { database, blobs, records, quota, previews, previewJobs } = parts
  const withContent = prepare((slot: (name: 'file' | 'blob') => never) =>
    database.read
      .selectFrom('company_file')
      .select('id')
      .where('id', '=', slot('file'))
      .where('blob_id', '=', slot('blob')),
  )

  async function isContentOf(fileId: string, blobId: string): Promise<boolean> {
    const found = await withContent(database.read, { file: fileId, blob: blobId })
    return found.length > 0
  }

  return {
    async room(caller) {
      await records.requireMember(database.read, caller)
      return quota.room(database.read, caller.companyId)
    },

    async create(caller, claim, staged) {
      const { companyId } = caller
      const { id: blobId, size } = staged
      const text = finalText(learn(NOTHING_TOLD, claim, 'init'))
      const created = await blobs.keep(staged, async (writer) => {
        const { role, kind } = await records.requireMember(writer, caller)
        const file = await records.insert(writer, caller, { blobId, chunks: 1, text })
        const content = { id: blobId, size, text }
        const isShown = await previews.request(writer, { id: file.id, companyId }, content)
        await quota.require(writer, companyId)
        return records.view({
          ...{ file, role, size, makerKind: kind, upload: undefined, previews: [] },
          previewState: isShown ? 'waiting' : 'done',
        })
      })
      previewJobs.announce()
      return created
    },

    get: async (caller, fileId) => records.view(await records.find(database.read, caller, fileId)),

    async open(caller, fileId) {
      for (;;) {
        const { blob, text } = await records.findContent(database.read, caller, fileId)
        const close = blobs.hold(blob.id)
        // An overwrite may have come between, before it could know of this reader.
        if (await isContentOf(fileId, blob.id)) return { text, blob, close }
        close()
      }
    },

    async preview(caller, fileId, position) {
      const { file } = await records.find(database.read, caller, fileId)
      const previewed = { id: file.id, companyId: file.company_id }
      return previews.find(database.read, previewed, position)
    },

    remove: (caller, fileId) =>
      blobs.unlinking(async (writer, release) => {
        const record = await records.find(writer, caller, fileId)
        if (!mayRemove(caller, record)) {
          throw new CoreError('company_file_forbidden', 'Made by somebody else')
        }
        await previews.forget(writer, release, fileId)
        await writer.deleteFrom('company_upload').where('file_id', '=', fileId).execute()
        await writer.deleteFrom('company_file').where('id', '=', fileId).execute()
        if (record.upload) await release(record.upload.blob_id)
        if (record.file.blob_id) await release(record.file.blob_id)
      }),
  }
}

function mayRemove({ identityId }: CompanyCaller, { file, role }: CompanyRecord): boolean {
  return file.maker_id === identityId || role === 'owner' || role === 'manager'
}
