import assert from 'node:assert/strict'
import type { AccountFile } from '../../src/core/account-files/files.ts'
import type { Core } from '../../src/core/core.ts'
import { generateKey, hashToken } from '../../src/core/secrets.ts'
import type { Server } from '../../src/server.ts'
import { inPieces } from './bytes.ts'
import { type Answer, type CallOptions, call } from './http.ts'
import type { TestServer } from './server.ts'
import { tamper } from './store.ts'

/** Somebody with an API token. */
export interface Owner {
  readonly id: string
  readonly email: string
  readonly token: string
  /** What a client sends with each request. */
  readonly headers: { authorization: string }
}

export interface OwnerOptions {
  timeZone?: string
  pin?: string
}

export async function createOwner(
  { core }: { core: Core },
  name = 'Author Name',
  { timeZone, pin }: OwnerOptions = {},
): Promise<Owner> {
  const email = `${name.toLowerCase().replaceAll(' ', '.')}@example.com`
  const { id } = await core.identities.createPerson({ email, name, timeZone })
  if (pin !== undefined) await core.pins.set(id, pin)
  const { token } = await core.tokens.create(id, 'test')
  return { id, email, token, headers: { authorization: `Bearer ${token}` } }
}

/** A request with her token, below `/api`. */
export function api(
  server: Server,
  who: Owner,
  method: string,
  path: string,
  options: CallOptions = {},
): Promise<Answer> {
  const headers = { ...who.headers, ...options.headers }
  return call(server, method, `/api${path}`, { ...options, headers })
}

export interface FileJson {
  id: string
  filename: string
  type: string
  extension: string
  full_filename: string
  size: number
  formatted_size: string
  encrypted_size: number
  formatted_encrypted_size: string
  category?: { id: string; name: string; created_at: string }
  created_by: Record<'name' | 'initials' | 'email' | 'photo_url' | 'timezone', string>
  created_at: string
  disk: string
  trashed: boolean
}

export interface PageJson {
  data: FileJson[]
  links?: Record<'first' | 'last' | 'prev' | 'next', string | null>
  meta?: Record<string, string | number | null>
}

export function fileForm(bytes: Uint8Array | string, name: string, type?: string): FormData {
  const form = new FormData()
  const options = type === undefined ? {} : { type }
  form.append('file', new Blob([bytes as Uint8Array<ArrayBuffer>], options), name)
  return form
}

/** Uploads as a client does. */
export async function uploaded(
  server: Server,
  who: Owner,
  name = 'invoice.pdf',
  bytes: Uint8Array | string = 'content',
  type?: string,
): Promise<FileJson> {
  const answer = await api(server, who, 'POST', '/files', { body: fileForm(bytes, name, type) })
  assert.equal(answer.status, 201, `${answer.bytes}`)
  return (answer.body as { data: FileJson }).data
}

/** The same without HTTP, for many files. */
export async function stored(
  { core }: { core: Core },
  who: Pick<Owner, 'id'>,
  name: string,
  bytes: Uint8Array | string = 'content',
): Promise<AccountFile> {
  const staged = await core.blobs.stage(inPieces(Buffer.from(bytes)), Number.POSITIVE_INFINITY)
  return core.accountFiles.create(who.id, staged, { name, type: 'text/plain' })
}

/** Makes every name searchable by index. */
export async function indexAll({ core }: { core: Core }): Promise<void> {
  while (await core.accountFiles.indexNames());
}

/** Names with a keyword in them, the newest first. */
export async function foundNames(
  { core }: { core: Core },
  who: Owner,
  keyword: string,
): Promise<string[]> {
  const query = { sort: [], keyword, trashed: 'with' as const }
  const names: string[] = []
  for await (const batch of core.accountList.all(who.id, query)) {
    names.push(...batch.map(({ fullName }) => fullName))
  }
  return names
}

export async function list(server: Server, who: Owner, query = ''): Promise<FileJson[]> {
  const answer = await api(server, who, 'GET', `/files${query}`)
  assert.equal(answer.status, 200, `${answer.bytes}`)
  return (answer.body as PageJson).data
}

/** The names in a list, in its order. */
export async function names(server: Server, who: Owner, query = ''): Promise<string[]> {
  return (await list(server, who, query)).map((file) => file.full_filename)
}

/** Keys and ids of the documented way to a download. */
export interface ReadyDownload {
  readonly id: string
  readonly key: string
  /** The address that needs no token. */
  readonly path: string
}

/** The address of a download, as documented but for the PIN, which is slow on purpose. */
export async function readyDownload(
  server: TestServer,
  who: Owner,
  ...files: string[]
): Promise<ReadyDownload> {
  const pinKey = await unlocked(server, who)
  const made = await api(server, who, 'POST', '/downloads', { json: { files } })
  assert.equal(made.status, 201, `${made.bytes}`)
  const { id } = (made.body as { data: { id: string } }).data
  const keyed = await api(server, who, 'POST', `/downloads/${id}/keys`, { json: { pinKey } })
  assert.equal(keyed.status, 201, `${keyed.bytes}`)
  const { key } = (keyed.body as { data: { key: string } }).data
  return { id, key, path: `/download/${id}/${key}` }
}

/** A key as a right PIN gives it. */
async function unlocked(server: TestServer, who: Owner): Promise<string> {
  const key = generateKey()
  await tamper(
    server.config,
    'insert into pin_key (key_hash, identity_id, expires_at) values (?, ?, ?)',
    hashToken(key),
    who.id,
    server.clock.now + 3600 * 1000,
  )
  return key
}

export async function pinKeyOf(server: Server, who: Owner, pin: string): Promise<string> {
  const answer = await api(server, who, 'POST', '/keys', { json: { pin } })
  assert.equal(answer.status, 201, `${answer.bytes}`)
  return (answer.body as { data: { key: string } }).data.key
}

/** Everything the server logged, as one text. */
export function logText(server: TestServer): string {
  return server.logged.map((line) => JSON.stringify(line)).join('\n')
}

/** A whole answer of a refused field. */
export function invalid(errors: Record<string, string[]>): { status: number; body: unknown } {
  return { status: 422, body: { message: 'The given data was invalid.', errors } }
}

/** A whole answer that only has a message. */
export function message(status: number, text: string): { status: number; body: unknown } {
  return { status, body: { message: text } }
}
