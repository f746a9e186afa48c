import type { CompanyCaller, UploadClaim } from '../../src/core/company-files/records.ts'
import type { Core } from '../../src/core/core.ts'
import type { CompanyRole } from '../../src/core/schema.ts'
import type { Server } from '../../src/server.ts'
import { inPieces } from './bytes.ts'
import { type Answer, call } from './http.ts'

/** Somebody with an API token. */
export interface Actor {
  readonly id: string
  readonly token: string
}

/** A company with one of each kind, and somebody who is not in it. */
export interface TestCompany {
  readonly id: string
  readonly owner: Actor
  readonly manager: Actor
  readonly member: Actor
  readonly otherMember: Actor
  readonly app: Actor
  readonly otherApp: Actor
  readonly stranger: Actor
}

export async function createPerson(server: Server, name: string): Promise<Actor> {
  const email = `${name.toLowerCase()}.${crypto.randomUUID()}@example.com`
  const { id } = await server.core.identities.createPerson({ email, name })
  return { id, token: (await server.core.tokens.create(id, 'test')).token }
}

export async function createApp(server: Server, companyId: string, name: string): Promise<Actor> {
  const { applicationId, token } = await server.core.companies.createApplication(companyId, name)
  return { id: applicationId, token }
}

export async function createCompany(server: Server): Promise<TestCompany> {
  const people = {
    owner: await createPerson(server, 'Olga'),
    manager: await createPerson(server, 'Max'),
    member: await createPerson(server, 'Mia'),
    otherMember: await createPerson(server, 'Omar'),
  }
  const { id } = await server.core.companies.create({
    name: 'Acme',
    owners: [people.owner.id],
    managers: [people.manager.id],
    members: [people.member.id, people.otherMember.id],
  })
  return {
    id,
    ...people,
    app: await createApp(server, id, 'Editor'),
    otherApp: await createApp(server, id, 'Scanner'),
    stranger: await createPerson(server, 'Stan'),
  }
}

/** Who stands where in a company, by the names of its members here. */
export const ROLES = {
  owner: 'owner',
  manager: 'manager',
  member: 'member',
  otherMember: 'member',
  app: 'application',
  otherApp: 'application',
} as const satisfies Partial<Record<keyof TestCompany, CompanyRole>>

const PREFIX = '/internal/services/files/v1'

/** The address of a company's files, or of one of them. */
export function filesPath(company: { id: string }, fileId?: string, rest = ''): string {
  const files = `${PREFIX}/companies/${company.id}/files`
  return fileId === undefined ? `${files}${rest}` : `${files}/${fileId}${rest}`
}

export function bearer(actor: Actor): Record<string, string> {
  return { authorization: `Bearer ${actor.token}` }
}

/** A form with one file part, as browsers make it. */
export function fileForm(
  bytes: Uint8Array,
  { part = 'file', filename = 'blob', type = '', fields = {} as Record<string, string> } = {},
): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  form.append(part, new Blob([bytes as Uint8Array<ArrayBuffer>], { type }), filename)
  return form
}

/** What a file's resource says, as far as tests look at it. */
export interface Resource {
  readonly id: string
  readonly updated_at: number
  readonly metadata: {
    name: string
    mime: string
    thumbnails_status: string
    thumbnail?: string
    width?: number
    height?: number
  } | null
  readonly thumbnails: readonly {
    index: number
    id: string
    size: number
    type: string
    width: number
    height: number
    url: string
  }[]
  readonly upload_data: { size: number; chunks: number } | null
}

export function resourceOf(answer: Answer): Resource {
  return (answer.body as { resource: Resource }).resource
}

/** Sends requests as one of a company. */
export function client(server: Pick<Server, 'address'>, company: { id: string }, actor: Actor) {
  const headers = bearer(actor)
  const ask = (method: string, path: string, body?: FormData, more = {}) =>
    call(server, method, path, {
      headers: { ...headers, ...more },
      ...(body && { body }),
    })
  return {
    init: (query: Record<string, string | number> = {}) =>
      ask('POST', `${filesPath(company)}?${search(query)}`),
    upload: (bytes: Uint8Array, query: Record<string, string | number> = {}) =>
      ask('POST', `${filesPath(company)}?${search(query)}`, fileForm(bytes)),
    send: (fileId: string, bytes: Uint8Array, query: Record<string, string | number> = {}) =>
      ask('POST', `${filesPath(company, fileId)}?${search(query)}`, fileForm(bytes)),
    get: (fileId: string, query: Record<string, string | number> = {}) =>
      ask('GET', `${filesPath(company, fileId)}?${search(query)}`),
    state: (fileId: string) => ask('GET', filesPath(company, fileId, '/upload')),
    download: (fileId: string, more: Record<string, string> = {}) =>
      ask('GET', filesPath(company, fileId, '/download'), undefined, more),
    thumbnail: (fileId: string, index: number | string = 0, more: Record<string, string> = {}) =>
      ask('GET', filesPath(company, fileId, `/thumbnails/${index}`), undefined, more),
    remove: (fileId: string) => ask('DELETE', filesPath(company, fileId)),
  }
}

export type Client = ReturnType<typeof client>

function search(query: Record<string, string | number>): string {
  return new URLSearchParams(
    Object.entries(query).map(([key, value]) => [key, String(value)]),
  ).toString()
}

/** A chunk's parameters in the spelling of the seed. */
export function chunkQuery(number: number, chunks: number, size: number) {
  return { total_chunks: chunks, total_Size: size, chunk_number: number }
}

/** A refusal of this dialect, to compare an outcome with. */
export function refusal(status: number, error: string, message: string) {
  return { status, body: { statusCode: status, error, message } }
}

/** A chunk of a company file, sent past HTTP. @param piece bytes that come at a time */
export async function sendChunk(
  core: Core,
  caller: CompanyCaller,
  fileId: string,
  claim: UploadClaim,
  bytes: Uint8Array,
  piece?: number,
) {
  const chunk = await core.companyChunks.receive(caller, fileId, claim, inPieces(bytes, piece))
  return core.companyChunks.accept(caller, fileId, claim, chunk)
}
