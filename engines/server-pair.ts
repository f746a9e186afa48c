import { join } from 'node:path'
import type { TestContext } from 'node:test'
import {
  holdfastJson,
  type ServerProcess,
  type Settings,
  startServerProcess,
} from '../e2e/processes.ts'
import { testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { bearer, fileForm, filesPath } from '../packages/server/test/helpers/companies.ts'
import { emptyDatabase } from '../packages/server/test/helpers/postgres.ts'
import type { Ceph } from './ceph.ts'

/** A database and a bucket, and a folder for the root key. */
export interface SharedPlace {
  /** Of each server and command. */
  readonly settings: Settings
  /** Goes with the test. */
  readonly folder: string
}

/** A database and a bucket in which nothing is yet. */
export async function newSharedPlace(
  t: TestContext,
  ceph: Ceph,
  given: Settings = {},
): Promise<SharedPlace> {
  const folder = await testFolder(t)
  const settings = {
    ...ceph.settings(ceph.place()),
    ...(await emptyDatabase(t)),
    HOLDFAST_DATA: join(folder, 'data'),
    HOLDFAST_ROOT_KEY_FILE: join(folder, 'root.key'),
    HOLDFAST_PREVIEW_MAX_MB: '0',
    ...given,
  }
  return { folder, settings }
}

/** Two servers of one store, and a company with a member and an application. */
export interface Pair extends SharedPlace {
  readonly one: ServerProcess
  readonly other: ServerProcess
  readonly company: { readonly id: string }
  readonly email: string
  /** Headers of the member and of the application, with a token each. */
  readonly member: Record<string, string>
  readonly app: Record<string, string>
}

export async function startPair(t: TestContext, ceph: Ceph, given: Settings = {}): Promise<Pair> {
  const place = await newSharedPlace(t, ceph, given)
  const { settings } = place
  const run = (...words: string[]) => holdfastJson<Record<string, string>>(settings, ...words)
  const one = await startServerProcess(t, settings)
  const other = await startServerProcess(t, settings)
  const email = 'mia@example.com'
  await run('user', 'create', '--email', email, '--name', 'Mia')
  const { token = '' } = await run('token', 'create', '--email', email, '--name', 'uploads')
  const { company_id: id = '' } = await run(
    'company',
    'create',
    '--name',
    'Acme',
    '--member',
    email,
  )
  const { token: appToken = '' } = await run('app', 'create', '--company', id, '--name', 'Editor')
  return {
    ...place,
    ...{ one, other, email, company: { id } },
    member: bearer({ id: '', token }),
    app: bearer({ id: '', token: appToken }),
  }
}

/** Sends content, or a chunk of it, to a new file or to one that is there; answers the file. */
export async function sendFile(
  { company, member }: Pair,
  address: string,
  content: Uint8Array,
  options: {
    fileId?: string
    query?: Record<string, string>
    headers?: Record<string, string>
  } = {},
): Promise<{ id: string }> {
  const { fileId, query = {}, headers = member } = options
  const path = filesPath(company, fileId, `?${new URLSearchParams(query)}`)
  const answer = await fetch(address + path, { method: 'POST', headers, body: fileForm(content) })
  const text = await answer.text()
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${text}`)
  return (JSON.parse(text) as { resource: { id: string } }).resource
}

/** What to ask of a company's upload for one of its chunks. */
export function chunkQuery(number: number, chunks: number, size: number): Record<string, string> {
  return {
    chunk_number: String(number),
    total_chunks: String(chunks),
    total_size: String(size),
  }
}

export async function fetchFile(
  { company, member }: Pair,
  address: string,
  fileId: string,
  headers: Record<string, string> = {},
): Promise<Response> {
  const path = filesPath(company, fileId, '/download')
  return fetch(address + path, { headers: { ...member, ...headers } })
}

export async function contentOf(pair: Pair, address: string, fileId: string): Promise<Buffer> {
  return Buffer.from(await (await fetchFile(pair, address, fileId)).arrayBuffer())
}
