import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { StagedBlob } from '../../../core/blobs/blobs.ts'
import type { ReceivedChunk } from '../../../core/company-files/chunks.ts'
import type {
  CompanyCaller,
  CompanyFile,
  UploadClaim,
} from '../../../core/company-files/records.ts'
import type { Core } from '../../../core/core.ts'
import { CoreError } from '../../../core/errors.ts'
import { type FilePart, readForm } from '../../../http/multipart.ts'
import { FormFile } from '../../../http/openapi.ts'
import type { DialectOptions } from '../../dialect.ts'
import { callerOf } from '../auth.ts'
import { claimOf, waitsForPreviews } from '../parameters.ts'
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
    app.post<{ Params: { company_id: string } }>(files + slash, options, async (request, reply) => {
      const caller = callerOf(request)
      return renderFile(
        await withPreviews(core, reply, caller, await create(core, request, caller)),
      )
    })
    app.post<{ Params: FileParams }>(`${files}/:id${slash}`, options, async (request, reply) => {
      const caller = callerOf(request)
      const sent = await send(core, request, caller, request.params.id)
      return renderFile(await withPreviews(core, reply, caller, sent))
    })
  }
}

/** What a request came to. */
interface Outcome {
  readonly file: CompanyFile
  /** Whether the client wants the previews with the answer. */
  readonly waits: boolean
}

/** The file as it is once its previews are made, for a client that waits for them. */
async function withPreviews(
  core: Core,
  reply: FastifyReply,
  caller: CompanyCaller,
  { file, waits }: Outcome,
): Promise<CompanyFile> {
  if (!waits || !file.whole || file.previewState !== 'waiting') return file
  const left = new AbortController()
  reply.raw.once('close', () => left.abort())
  await core.previewJobs.settled(file.id, left.signal)
  try {
    return await core.companyFiles.get(caller, file.id)
  } catch (error) {
    // Somebody has removed it since; the upload was a success all the same.
    if (error instanceof CoreError && error.code === 'company_file_not_found') return file
    throw error
  }
}

/** A file from its bytes, from its first chunk, or announced without any. */
async function create(
  core: Core,
  request: FastifyRequest,
  caller: CompanyCaller,
): Promise<Outcome> {
  const { query } = request
  if (!hasForm(request)) {
    return { file: await core.companyUploads.begin(caller, claimOf(query)), waits: false }
  }
  // Strangers are refused before anything they send is stored.
  const room = await core.companyFiles.room(caller)
  const { file, fields } = await readForm(request, {
    field: undefined,
    receive: (part) => receiveNew(core, caller, part, claimOf(query, part.fields, part), room),
    drop: (received) => dropNew(core, caller, received),
  })
  const waits = waitsForPreviews(query, fields)
  if (!file) {
    return { file: await core.companyUploads.begin(caller, claimOf(query, fields)), waits }
  }
  if ('staged' in file) {
    return { file: await core.companyFiles.create(caller, file.claim, file.staged), waits }
  }
  return {
    file: await core.companyChunks.accept(caller, file.fileId, file.claim, file.chunk),
    waits,
  }
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
): Promise<Outcome> {
  const { query } = request
  const before = await core.companyFiles.get(caller, fileId)
  if (!hasForm(request)) return { file: before, waits: waitsForPreviews(query) }
  const { file, fields } = await readForm(request, {
    field: undefined,
    receive: async (part) => {
      const claim = claimOf(query, part.fields, part)
      const chunk = await core.companyChunks.receive(caller, fileId, claim, part.bytes)
      return { claim, chunk }
    },
    drop: ({ chunk }) => core.companyChunks.drop(chunk),
  })
  return {
    file: file ? await core.companyChunks.accept(caller, fileId, file.claim, file.chunk) : before,
    waits: waitsForPreviews(query, fields),
  }
}

function hasForm({ headers }: FastifyRequest): boolean {
  return /^multipart\/form-data\b/i.test(headers['content-type'] ?? '')
}
