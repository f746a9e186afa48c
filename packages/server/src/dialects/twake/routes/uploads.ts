import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { StagedBlob } from '../../../core/blobs/blobs.ts'
import type { ReceivedChunk } from '../../../core/company-files/chunks.ts'
import type {
  CompanyCaller,
  CompanyFile,
  UploadClaim,
} from '../../../core/company-files/records.ts'
import type { Core } from '../../../core/core.ts'
import { type FilePart, readForm } from '../../../http/multipart.ts'
import { FormFile } from '../../../http/openapi.ts'
import type { DialectOptions } from '../../dialect.ts'
import { callerOf } from '../auth.ts'
import { claimOf } from '../parameters.ts'
import { renderFile } from '../render.ts'
import type { FileParams } from './files.ts'

/** For the document: what is sent is read with all its spellings and never refused for its form. */
const Query = Type.Object({
  filename: parameter('the name of the file'),
  type: parameter('its media type'),
  total_chunks: parameter('how many chunks there are, 1 to 10,000; 1 when nothing is said'),
  total_size: parameter('bytes of all chunks together'),
  chunk_number: parameter('of the chunk that is sent, from 1; 1 when nothing is said'),
  thumbnail_sync: parameter('whether to wait for previews, for 10 seconds at most'),
})
const Form = Type.Object({ file: Type.Optional(FormFile) })

function parameter(description: string) {
  return Type.Optional(Type.Unsafe<unknown>({ description }))
}

/** Seeds «Classic upload» and «Upload with chunk». Every answer is 200: others make clients send again. */
export function uploadRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  const files = '/companies/:company_id/files'
  // Both spellings of both: a router would take `files/?…` for a file without an id.
  for (const slash of ['', '/']) {
    const options = { config: { form: Form }, schema: { hide: slash !== '', querystring: Query } }
    app.post<{ Params: { company_id: string } }>(files + slash, options, async (request) =>
      renderFile(await create(core, request, callerOf(request))),
    )
    app.post<{ Params: FileParams }>(`${files}/:id${slash}`, options, async (request) =>
      renderFile(await send(core, request, callerOf(request), request.params.id)),
    )
  }
}

/** A file from its bytes, from its first chunk, or announced without any. */
async function create(
  core: Core,
  request: FastifyRequest,
  caller: CompanyCaller,
): Promise<CompanyFile> {
  const { query } = request
  if (!hasForm(request)) return core.companyUploads.begin(caller, claimOf(query))
  // Strangers are refused before anything they send is stored.
  const room = await core.companyFiles.room(caller)
  const { file, fields } = await readForm(request, {
    field: undefined,
    receive: (part) => receiveNew(core, caller, part, claimOf(query, part.fields, part), room),
    drop: (received) => dropNew(core, caller, received),
  })
  if (!file) return core.companyUploads.begin(caller, claimOf(query, fields))
  if ('staged' in file) return core.companyFiles.create(caller, file.claim, file.staged)
  return core.companyChunks.accept(caller, file.fileId, file.claim, file.chunk)
}

type NewFile =
  | { readonly claim: UploadClaim; readonly staged: StagedBlob }
  | { readonly claim: UploadClaim; readonly fileId: string; readonly chunk: ReceivedChunk }

async function receiveNew(
  core: Core,
  caller: CompanyCaller,
  { bytes }: FilePart,
  claim: UploadClaim,
  room: number,
): Promise<NewFile> {
  if ((claim.totalChunks ?? 1) === 1 && (claim.number ?? 1) === 1) {
    return { claim, staged: await core.blobs.stage(bytes, room) }
  }
  const { id: fileId } = await core.companyUploads.begin(caller, claim)
  try {
    const chunk = await core.companyChunks.receive(caller, fileId, claim, bytes)
    return { claim, fileId, chunk }
  } catch (error) {
    // Nobody was told of it.
    await core.companyFiles.remove(caller, fileId)
    throw error
  }
}

async function dropNew(core: Core, caller: CompanyCaller, file: NewFile): Promise<void> {
  if ('staged' in file) return core.blobs.discard(file.staged)
  await core.companyChunks.drop(file.chunk)
  await core.companyFiles.remove(caller, file.fileId)
}

/** Bytes for a file that is there; without any, nothing happens. */
async function send(
  core: Core,
  request: FastifyRequest,
  caller: CompanyCaller,
  fileId: string,
): Promise<CompanyFile> {
  const { query } = request
  const before = await core.companyFiles.get(caller, fileId)
  if (!hasForm(request)) return before
  const { file } = await readForm(request, {
    field: undefined,
    receive: async (part) => {
      const claim = claimOf(query, part.fields, part)
      const chunk = await core.companyChunks.receive(caller, fileId, claim, part.bytes)
      return { claim, chunk }
    },
    drop: ({ chunk }) => core.companyChunks.drop(chunk),
  })
  return file ? core.companyChunks.accept(caller, fileId, file.claim, file.chunk) : before
}

function hasForm({ headers }: FastifyRequest): boolean {
  return /^multipart\/form-data\b/i.test(headers['content-type'] ?? '')
}
