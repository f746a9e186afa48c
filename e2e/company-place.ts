import { join } from 'node:path'
import { type Scope, testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { bearer, fileForm, filesPath } from '../packages/server/test/helpers/companies.ts'
import { holdfastJson, type ServerProcess, type Settings, startServerProcess } from './processes.ts'

/** A real server on a folder of its own, and a member of a company with a token. */
export interface CompanyPlace {
  readonly settings: Settings
  /** The data folder. */
  readonly data: string
  readonly company: { readonly id: string }
  readonly headers: Record<string, string>
  /** The process that runs now. */
  server: ServerProcess
}

/** Starts a server on a fresh folder, and makes a company with one member. */
export async function startCompanyPlace(t: Scope, given: Settings = {}): Promise<CompanyPlace> {
  const data = join(await testFolder(t), 'data')
  const settings: Settings = { HOLDFAST_DATA: data, HOLDFAST_PORT: '0', ...given }
  const server = await startServerProcess(t, settings)
  const email = 'mia@example.com'
  await holdfastJson(settings, 'user', 'create', '--email', email, '--name', 'Mia')
  const { token } = await holdfastJson<{ token: string }>(
    settings,
    ...['token', 'create', '--email', email, '--name', 'uploads'],
  )
  const { company_id } = await holdfastJson<{ company_id: string }>(
    settings,
    ...['company', 'create', '--name', 'Acme', '--member', email],
  )
  const headers = bearer({ id: '', token })
  return { settings, data, company: { id: company_id }, headers, server }
}

/** Where a file, or the files, of the company are. */
export function address(place: CompanyPlace, fileId?: string, rest = ''): string {
  return place.server.address + filesPath(place.company, fileId, rest)
}

/** What an upload has come to. */
export interface State {
  readonly complete: boolean
  readonly chunks: readonly { chunk_number: number; size: number }[]
}

export async function announce(place: CompanyPlace, size: number): Promise<string> {
  const query = new URLSearchParams({ filename: 'film.mkv', total_size: String(size) })
  const answer = await fetch(address(place, undefined, `?${query}`), {
    method: 'POST',
    headers: place.headers,
  })
  return ((await answer.json()) as { resource: { id: string } }).resource.id
}

export async function stateOf(place: CompanyPlace, fileId: string): Promise<State> {
  const answer = await fetch(address(place, fileId, '/upload'), { headers: place.headers })
  return ((await answer.json()) as { resource: State }).resource
}

/** Sends one chunk of so many bytes and answers the status. */
export async function sendChunk(
  place: CompanyPlace,
  fileId: string,
  content: Uint8Array,
  number: number,
  chunkSize: number,
): Promise<number> {
  const chunks = Math.ceil(content.length / chunkSize)
  const query = new URLSearchParams({
    resumableChunkNumber: String(number),
    resumableTotalChunks: String(chunks),
    resumableTotalSize: String(content.length),
  })
  const chunk = content.subarray((number - 1) * chunkSize, number * chunkSize)
  const answer = await fetch(address(place, fileId, `?${query}`), {
    method: 'POST',
    headers: place.headers,
    body: fileForm(chunk),
  })
  await answer.arrayBuffer()
  return answer.status
}

export async function downloaded(place: CompanyPlace, fileId: string): Promise<Buffer> {
  const answer = await fetch(address(place, fileId, '/download'), { headers: place.headers })
  return Buffer.from(await answer.arrayBuffer())
}
