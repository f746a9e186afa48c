import { randomUUID } from 'node:crypto'
import type { StoredBlob } from '../blobs/blobs.ts'
import { requireLink } from '../blobs/links.ts'
import type { Clock } from '../clock.ts'
import type { Database, Reader, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { type SealedColumn, sealedJson } from '../keys/sealed-column.ts'
import type { Companies, Member } from '../people/companies.ts'
import { prepare } from '../prepared.ts'
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

/** What a file is given. */
interface NewContent {
  readonly blobId: string
  readonly chunks: number
  readonly text: CompanyFileText
}

/** The rows of company files: found for those who may see them, written, opened. */
export interface CompanyRecords {
  /** @throws CoreError company_not_found for strangers */
  requireMember(reader: Reader, caller: CompanyCaller): Promise<Member>
  /** @throws CoreError company_file_not_found, also for strangers and for uploads that have expired */
  find(reader: Reader, caller: CompanyCaller, fileId: string): Promise<CompanyRecord>
  /**
   * The content of a file and what it is called.
   *
   * @throws CoreError company_file_incomplete, integrity, or as `find`
   */
  findContent(
    reader: Reader,
    caller: CompanyCaller,
    fileId: string,
  ): Promise<{ blob: StoredBlob; text: CompanyFileText }>
  view(record: CompanyRecord): CompanyFile
  /** Makes a file, with its content if that is there. */
  insert(writer: Writer, caller: CompanyCaller, content?: NewContent): Promise<Row<'company_file'>>
  /** Gives a file its content, or other content. */
  setContent(
    writer: Writer,
    file: { id: string; companyId: string },
    content: NewContent,
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
  database: Database,
  keyring: Keyring,
  clock: Clock,
  companies: Companies,
  previews: Previews,
): CompanyRecords {
  const fileColumn = companyFileColumn(keyring)
  const uploadColumn = sealedJson<CompanyUploadText & BlobLink>(keyring, 'company_upload')

  const selectFile = preparedFile(database)
  const selectUpload = preparedUpload(database)
  const insertFile = preparedInsert(database)

  function textOf(file: Row<'company_file'>): CompanyFileText | undefined {
    if (file.sealed === null) return undefined
    const { blobId, ...text } = fileColumn.open(file.id, file.company_id, file.sealed)
    requireLink(file.blob_id, blobId)
    return text
  }

  function contentOf(file: Row<'company_file'>, size: number | null) {
    const text = textOf(file)
    if (text && file.blob_id !== null && size !== null) {
      return { blob: { id: file.blob_id, size }, text }
    }
    throw new CoreError('company_file_incomplete', 'The file is not complete')
  }

  function columnsOf(id: string, companyId: string, { blobId, chunks, text }: NewContent) {
    const sealed = fileColumn.seal(id, companyId, { ...text, blobId })
    return { blob_id: blobId, chunks, sealed }
  }

  async function findFile(reader: Reader, caller: CompanyCaller, fileId: string) {
    const { companyId: company, identityId: identity } = caller
    const [row] = await selectFile(reader, { file: fileId, company, identity })
    if (!row) throw notFound()
    return row
  }

  const find: CompanyRecords['find'] = async (reader, caller, fileId) => {
    let row = await findFile(reader, caller, fileId)
    const [upload] = await selectUpload(reader, { file: fileId })
    // Between the two its upload may have ended: then it is whole, or gone.
    if (row.blob_id === null && !upload) row = await findFile(reader, caller, fileId)
    const { kind, size, job, role, ...file } = row
    if (file.blob_id === null && (upload?.expires_at ?? 0) <= clock()) throw notFound()
    return {
      ...{ file, makerKind: kind, size, upload, role },
      previews: await previews.list(reader, { id: fileId, companyId: caller.companyId }),
      previewState: previewStateOf(file.blob_id !== null, job),
    }
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
    fileText: ({ file }) => textOf(file),
    uploadText,

    contentOf: (record) => contentOf(record.file, record.size).blob,

    async requireMember(reader, { companyId, identityId }) {
      const member = await companies.memberOf(reader, companyId, identityId)
      if (!member) throw new CoreError('company_not_found', 'no such company')
      return member
    },

    find,

    async findContent(reader, caller, fileId) {
      const file = await findFile(reader, caller, fileId)
      if (file.blob_id !== null) return contentOf(file, file.size)
      // Its upload may have expired, or ended just now.
      const record = await find(reader, caller, fileId)
      return contentOf(record.file, record.size)
    },

    view(record) {
      const { file, makerKind, size } = record
      const text = textOf(file)
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

    async insert(writer, { companyId, identityId }, content) {
      const id = randomUUID()
      const now = clock()
      const file = {
        id,
        company_id: companyId,
        maker_id: identityId,
        ...(content ? columnsOf(id, companyId, content) : NO_CONTENT),
        created_at: now,
        updated_at: now,
      }
      await insertFile(writer, file)
      return file
    },

    async setContent(writer, { id, companyId }, content) {
      await writer
        .updateTable('company_file')
        .set({ ...columnsOf(id, companyId, content), updated_at: clock() })
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

const NO_CONTENT = { blob_id: null, chunks: null, sealed: null }

/** A file of a company, with what one of the company is in it. */
function preparedFile({ read }: Database) {
  return prepare((slot: (name: 'file' | 'company' | 'identity') => never) =>
    read
      .selectFrom('company_file')
      .innerJoin('company_member', 'company_member.company_id', 'company_file.company_id')
      .innerJoin('identity', 'identity.id', 'company_file.maker_id')
      .leftJoin('blob', 'blob.id', 'company_file.blob_id')
      .leftJoin('preview_job', 'preview_job.file_id', 'company_file.id')
      .selectAll('company_file')
      .select(['identity.kind', 'blob.size', 'preview_job.state as job', 'company_member.role'])
      .where('company_file.id', '=', slot('file'))
      .where('company_file.company_id', '=', slot('company'))
      .where('company_member.identity_id', '=', slot('identity')),
  )
}

function preparedUpload({ read }: Database) {
  return prepare((slot: (name: 'file') => never) =>
    read.selectFrom('company_upload').selectAll().where('file_id', '=', slot('file')),
  )
}

function preparedInsert({ read }: Database) {
  return prepare((slot: (name: keyof Row<'company_file'>) => never) =>
    read.insertInto('company_file').values({
      id: slot('id'),
      company_id: slot('company_id'),
      maker_id: slot('maker_id'),
      blob_id: slot('blob_id'),
      chunks: slot('chunks'),
      sealed: slot('sealed'),
      created_at: slot('created_at'),
      updated_at: slot('updated_at'),
    }),
  )
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
