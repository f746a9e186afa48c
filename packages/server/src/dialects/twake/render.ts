import type { CompanyFile } from '../../core/company-files/records.ts'
import type { UploadState } from '../../core/company-files/uploads.ts'

/** A file as the document prints it together with what the server of Twake answers. */
export function renderFile(file: CompanyFile) {
  const isApplication = file.makerKind === 'application'
  return {
    resource: {
      company_id: file.companyId,
      id: file.id,
      owner_type: isApplication ? 'application' : 'user',
      owner_id: file.makerId,
      user_id: file.makerId,
      application_id: isApplication ? file.makerId : null,
      encryption_key: '',
      updated_at: file.updatedAt,
      created_at: file.createdAt,
      metadata: metadataOf(file),
      thumbnails: [],
      upload_data: uploadDataOf(file),
    },
  }
}

/** Without previews nothing is waited for once the content is there. */
function metadataOf({ name, mime, whole }: CompanyFile) {
  if (name === null && mime === null) return null
  return {
    name: name ?? '',
    mime: mime ?? 'application/octet-stream',
    thumbnails_status: whole ? 'done' : 'waiting',
  }
}

function uploadDataOf({ size, chunks }: CompanyFile) {
  return size === null && chunks === null ? null : { size: size ?? 0, chunks: chunks ?? 1 }
}

export function renderState(companyId: string, fileId: string, state: UploadState) {
  return {
    resource: {
      company_id: companyId,
      id: fileId,
      complete: state.whole,
      total_chunks: state.totalChunks,
      total_size: state.totalSize,
      expires_at: state.expiresAt,
      chunks: state.chunks.map(({ number, size }) => ({ chunk_number: number, size })),
    },
  }
}
