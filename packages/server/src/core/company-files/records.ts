import { randomUUID } from 'node:crypto'
import type { StoredBlob } from '../blobs/blobs.ts'
import { requireLink } from '../blobs/links.ts'
import type { Clock } from '../clock.ts'
import type { Reader, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { type SealedColumn, sealedJson } from '../keys/sealed-column.ts'
import type { Companies } from '../people/companies.ts'
import type { Preview, PreviewState, Previews } from '../previews/previews.ts'
import type {
  BlobLink,
  CompanyFileText,
  CompanyRole,
  CompanyUploadText,
  IdentityKind,
  Row,
  Told,
  ToldBy,
} from '../schema.ts'

/** Somebody who does something in a company. */
export interface CompanyCaller {
  readonly identityId: string
  readonly companyId: string
}

/** A file of a company, as those in the company see it. */
export interface CompanyFile {
  readonly id: string
  readonly companyId: string
  /** The person or application that made it, whoever sent its bytes. */
  readonly makerId: string
  readonly makerKind: IdentityKind
  /** Whether its content is there; until then all that follows is what was announced. */
  readonly whole: boolean
  readonly name: string | null
  readonly mime: string | null
  /** Bytes. */
  readonly size: number | null
  readonly chunks: number | null
  /** In their order; none until they are made. */
  readonly previews: readonly Preview[]
  readonly previewState: PreviewState
  /** Milliseconds since the epoch, like `updatedAt`. */
  readonly createdAt: number
  readonly updatedAt: number
}

/** What a request says of a file, as far as it says anything. */
export interface UploadClaim {
  readonly name?: string | undefined
  readonly mime?: string | undefined
  /** Name and media type of the part that carries the bytes: believed when nothing else is said. */
  readonly partName?: string | undefined
  readonly partMime?: string | undefined
  readonly totalChunks?: number | undefined
  /** Bytes. */
  readonly totalSize?: number | undefined
  /** Of the chunk, from 1. */
  readonly number?: number | undefined
}

/** The rows of a file, and what the caller is in its company. */
export interface CompanyRecord {
  readonly file: Row<'company_file'>
  readonly makerKind: IdentityKind
  /** Of its content. */
  readonly size: number | null
  readonly upload: Row<'company_upload'> | undefined
  readonly previews: readonly Preview[]
  readonly previewState: PreviewState
  readonly role: CompanyRole
}

/** The rows of company files: found for those who may see them, written, opened. */
export interface CompanyRecords {
  /** @throws CoreError company_not_found for strangers */
  requireRole(reader: Reader, caller: CompanyCaller): Promise<CompanyRole>
  /** @throws CoreError company_file_not_found, also for strangers and for uploads that have expired */
  find(reader: Reader, caller: CompanyCaller, fileId: string): Promise<CompanyRecord>
  view(record: CompanyRecord): CompanyFile
  /** Makes a file without content. */
  insert(writer: Writer, caller: CompanyCaller): Promise<string>
  /** Gives a file its content, or other content. */
  setContent(
    writer: Writer,
    file: { id: string; companyId: string },
    content: { blobId: string; chunks: number; text: CompanyFileText },
  ): Promise<void>
  sealUpload(
    upload: Pick<Row<'company_upload'>, 'file_id' | 'blob_id'>,
    companyId: string,
    text: CompanyUploadText,
  ): Row<'company_upload'>['sealed']
  /** @throws CoreError integrity, like `fileText`, also when the row links to what it was not made for */
  uploadText(record: CompanyRecord): CompanyUploadText
  /** What a file with content is called. */
  fileText(record: CompanyRecord): CompanyFileText | undefined
  /** The content of a file. @throws CoreError company_file_incomplete, integrity */
  contentOf(record: CompanyRecord): StoredBlob
}

/** The sealed column of a whole file. */
export function companyFileColumn(keyring: Keyring): SealedColumn<CompanyFileText & BlobLink> {
  return sealedJson(keyring, 'company_file')
}

export function createCompanyRecords(
  keyring: Keyring,
  clock: Clock,
  companies: Companies,
  previews: Previews,
): CompanyRecords {
  const fileColumn = companyFileColumn(keyring)
  const uploadColumn = sealedJson<CompanyUploadText & BlobLink>(keyring, 'company_upload')

  const fileText: CompanyRecords['fileText'] = ({ file }) => {
    if (file.sealed === null) return undefined
    const { blobId, ...text } = fileColumn.open(file.id, file.company_id, file.sealed)
    requireLink(file.blob_id, blobId)
    return text
  }

  const uploadText: CompanyRecords['uploadText'] = ({ file, upload }) => {
    if (!upload) return NOTHING_TOLD
    const { blobId, ...text } = uploadColumn.open(file.id, file.company_id, upload.sealed)
    requireLink(upload.blob_id, blobId)
    return text
  }

  function announced(
    record: CompanyRecord,
  ): Pick<CompanyFile, 'name' | 'mime' | 'size' | 'chunks'> {
    const { name, mime } = uploadText(record)
    return {
      name: name?.text ?? null,
      mime: mime?.text ?? null,
      size: record.upload?.total_size ?? null,
      chunks: record.upload?.total_chunks ?? null,
    }
  }

  return {
    fileText,
    uploadText,

    contentOf(record) {
      const { file, size } = record
      if (!fileText(record) || file.blob_id === null || size === null) {
        throw new CoreError('company_file_incomplete', 'The file is not complete')
      }
      return { id: file.blob_id, size }
    },

    async requireRole(reader, { companyId, identityId }) {
      const role = await companies.roleOf(reader, companyId, identityId)
      if (!role) throw new CoreError('company_not_found', 'no such company')
      return role
    },

    async find(reader, { companyId, identityId }, fileId) {
      const role = await companies.roleOf(reader, companyId, identityId)
      let row = role && (await selectFile(reader, companyId, fileId))
      const upload = row && (await selectUpload(reader, fileId))
      // Between the two its upload may have ended: then it is whole, or gone.
      if (row?.blob_id === null && !upload) row = await selectFile(reader, companyId, fileId)
      if (!role || !row) throw notFound()
      const { kind, size, job, ...file } = row
      if (file.blob_id === null && (upload?.expires_at ?? 0) <= clock()) throw notFound()
      return {
        ...{ file, makerKind: kind, size, upload, role },
        previews: await previews.list(reader, { id: fileId, companyId }),
        previewState: previewStateOf(file.blob_id !== null, job),
      }
    },

    view(record) {
      const { file, makerKind, size } = record
      const text = fileText(record)
      return {
        id: file.id,
        companyId: file.company_id,
        makerId: file.maker_id,
        makerKind,
        whole: text !== undefined,
        ...(text ? { ...text, size, chunks: file.chunks } : announced(record)),
        previews: record.previews,
        previewState: record.previewState,
        createdAt: file.created_at,
        updatedAt: file.updated_at,
      }
    },

    async insert(writer, { companyId, identityId }) {
      const id = randomUUID()
      const now = clock()
      await writer
        .insertInto('company_file')
        .values({
          id,
          company_id: companyId,
          maker_id: identityId,
          blob_id: null,
          chunks: null,
          sealed: null,
          created_at: now,
          updated_at: now,
        })
        .execute()
      return id
    },

    async setContent(writer, { id, companyId }, { blobId, chunks, text }) {
      await writer
        .updateTable('company_file')
        .set({
          blob_id: blobId,
          chunks,
          sealed: fileColumn.seal(id, companyId, { ...text, blobId }),
          updated_at: clock(),
        })
        .where('id', '=', id)
        .execute()
    },

    sealUpload: ({ file_id, blob_id }, companyId, text) =>
      uploadColumn.seal(file_id, companyId, { ...text, blobId: blob_id }),
  }
}

function notFound(): CoreError {
  return new CoreError('company_file_not_found', 'File not found')
}

function previewStateOf(whole: boolean, job: Row<'preview_job'>['state'] | null): PreviewState {
  if (!whole || job === 'waiting') return 'waiting'
  return job === 'failed' ? 'error' : 'done'
}

async function selectFile(reader: Reader, companyId: string, fileId: string) {
  return reader
    .selectFrom('company_file')
    .innerJoin('identity', 'identity.id', 'company_file.maker_id')
    .leftJoin('blob', 'blob.id', 'company_file.blob_id')
    .leftJoin('preview_job', 'preview_job.file_id', 'company_file.id')
    .selectAll('company_file')
    .select(['identity.kind', 'blob.size', 'preview_job.state as job'])
    .where('company_file.id', '=', fileId)
    .where('company_file.company_id', '=', companyId)
    .executeTakeFirst()
}

async function selectUpload(
  reader: Reader,
  fileId: string,
): Promise<Row<'company_upload'> | undefined> {
  return reader
    .selectFrom('company_upload')
    .selectAll()
    .where('file_id', '=', fileId)
    .executeTakeFirst()
}

export const NOTHING_TOLD: CompanyUploadText = { name: null, mime: null }
const UNKNOWN_TYPE = 'application/octet-stream'
const RANK: Record<ToldBy, number> = { part: 0, init: 1, chunk: 2 }

/**
 * What is known of a file after a request has told something: a chunk's parameters replace those of
 * the initialisation, the first chunk that has them wins, and a part's own name is the last resort.
 */
export function learn(
  known: CompanyUploadText,
  claim: UploadClaim,
  by: 'init' | 'chunk',
): CompanyUploadText {
  // Clients that do not know a type say this.
  const partMime = claim.partMime === UNKNOWN_TYPE ? undefined : claim.partMime
  return {
    name: better(known.name, told(claim.name, claim.partName, by)),
    mime: better(known.mime, told(claim.mime, partMime, by)),
  }
}

function told(text: string | undefined, ofPart: string | undefined, by: ToldBy): Told | null {
  if (text) return { text, by }
  return ofPart ? { text: ofPart, by: 'part' } : null
}

function better(known: Told | null, given: Told | null): Told | null {
  if (!known || !given) return known ?? given
  return RANK[given.by] > RANK[known.by] ? given : known
}

/** What a file with content is called; where nothing was told, what it was called before. */
export function finalText(
  { name, mime }: CompanyUploadText,
  before?: CompanyFileText,
): CompanyFileText {
  return {
    name: name?.text ?? before?.name ?? '',
    mime: mime?.text ?? before?.mime ?? UNKNOWN_TYPE,
  }
}
