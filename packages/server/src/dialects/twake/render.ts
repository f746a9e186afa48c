import type { CompanyFile } from '../../core/company-files/records.ts'
import type { UploadState } from '../../core/company-files/uploads.ts'
import type { Preview } from '../../core/previews/previews.ts'

/** Where all routes are. */
export const PREFIX = '/internal/services/files/v1'

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
      thumbnails: thumbnailsOf(file),
      upload_data: uploadDataOf(file),
    },
  }
}

/** The document has one thumbnail, in the metadata; the server of Twake has several, beside them. */
function metadataOf(file: CompanyFile) {
  const { name, mime, previewState } = file
  if (name === null && mime === null) return null
  const [first] = thumbnailsOf(file)
  return {
    name: name ?? '',
    mime: mime ?? 'application/octet-stream',
    thumbnails_status: previewState,
    ...(first && { thumbnail: first.url, width: first.width, height: first.height }),
  }
}

function thumbnailsOf({ companyId, id, previews }: CompanyFile) {
  return previews.map((preview, index) => ({
    index,
    id: thumbnailName(index, preview),
    size: preview.blob.size,
    type: preview.type,
    width: preview.width,
    height: preview.height,
    url: `${PREFIX}/companies/${companyId}/files/${id}/thumbnails/${index}`,
  }))
}

/** As Twake calls them, with the ending of what they are. */
export function thumbnailName(index: number, { type }: Preview): string {
  return `${index}.${type.slice('image/'.length)}`
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
