import { request } from 'node:http'
import type { TestContext } from 'node:test'
import type { Server } from '../../src/server.ts'
import { fileForm as accountForm, api, type FileJson } from './account.ts'
import { pattern } from './bytes.ts'
import {
  type Actor,
  bearer,
  chunkQuery,
  client,
  createApp,
  filesPath,
  resourceOf,
} from './companies.ts'
import { savedUpload } from './saved-files.ts'
import {
  createBox,
  PUBLIC_KEY,
  type SignedIn,
  signIn,
  startTestServer,
  type TestServer,
  upload,
} from './server.ts'

/** Content that stands in the database, and content that is an object of several chunks. */
const SMALL = 1000
const CHUNK = 65_536
const LARGE = 3 * CHUNK + 5000

/** A file of a tenant and how its content is asked for. */
export interface TenantFile {
  readonly dialect: 'privasfer' | 'twake' | 'misakey'
  /** For messages of tests. */
  readonly name: string
  /** The answer's content, when all is well. */
  readonly truth: Buffer
  readonly path: string
  readonly headers: Record<string, string>
  readonly id: string
}

/** One who has files in every dialect, and nothing in common with the other. */
export interface Tenant {
  readonly person: SignedIn
  readonly actor: Actor
  readonly companyId: string
  readonly boxId: string
  readonly shareHash: string
  readonly files: readonly TenantFile[]
  /** Lists and other answers with sealed texts. */
  readonly texts: readonly Text[]
}

/** An answer with sealed texts, and how it is asked for. */
export interface Text {
  readonly dialect: 'privasfer' | 'twake' | 'misakey' | 'native'
  readonly path: string
  readonly headers: Record<string, string>
}

export interface Tenants {
  readonly server: TestServer
  readonly ann: Tenant
  readonly bob: Tenant
}

/** A server with two who have one of everything, on both ways in which content is stored. */
export async function startTenants(t: TestContext): Promise<Tenants> {
  const server = await startTestServer(t, { HOLDFAST_API_RATE_LIMIT: '0' })
  return {
    server,
    ann: await createTenant(server, 'Ann Example', 10),
    bob: await createTenant(server, 'Bob Example', 20),
  }
}

async function createTenant(server: TestServer, name: string, seed: number): Promise<Tenant> {
  const { core } = server
  const person = await signIn(server, name)
  const { token } = await core.tokens.create(person.id, `token of ${name}`)
  const actor = { id: person.id, token }
  const [small, large] = [pattern(SMALL, seed), pattern(LARGE, seed + 1)]
  const { id: companyId } = await core.companies.create({
    name: `company of ${name}`,
    owners: [person.id],
    managers: [],
    members: [],
  })
  await createApp(server, companyId, `application of ${name}`)
  await core.pins.set(person.id, '2734')
  const shareHash = Buffer.from(`hash of ${name}`).toString('base64url')
  const boxId = await createBox(server, person)
  await core.boxKeyShares.add(person.id, boxId, {
    hash: shareHash,
    misakeyShare: 'a share',
    encryptedInvitationKeyShare: 'an invitation',
  })
  const files = [
    ...(await accountFiles(server, actor, name, small, large)),
    ...(await companyFiles(server, { id: companyId }, actor, small, large)),
    ...(await boxFiles(server, person, boxId, small, large)),
  ]
  const { id: unfinished } = resourceOf(
    await client(server, { id: companyId }, actor).init({ filename: 'unfinished', total_size: 10 }),
  )
  const headers = bearer(actor)
  const cookies = person.headers
  const texts: Text[] = [
    { dialect: 'privasfer', path: '/api/files', headers },
    { dialect: 'privasfer', path: '/api/files?page=1&include=category', headers },
    { dialect: 'privasfer', path: '/api/files?keyword=invoice', headers },
    { dialect: 'privasfer', path: '/api/user', headers },
    { dialect: 'twake', path: filesPath({ id: companyId }, unfinished), headers },
    { dialect: 'misakey', path: '/boxes/joined', headers: cookies },
    { dialect: 'misakey', path: `/boxes/${boxId}`, headers: cookies },
    { dialect: 'misakey', path: `/boxes/${boxId}/events`, headers: cookies },
    { dialect: 'misakey', path: `/boxes/${boxId}/files`, headers: cookies },
    { dialect: 'misakey', path: `/box-key-shares/${shareHash}`, headers: cookies },
    { dialect: 'misakey', path: '/saved-files', headers: cookies },
    { dialect: 'native', path: '/v1/tokens', headers: cookies },
    { dialect: 'native', path: '/v1/me', headers: cookies },
  ]
  return { person, actor, companyId, boxId, shareHash, files, texts }
}

async function accountFiles(
  server: Server,
  actor: Actor,
  name: string,
  ...contents: Buffer[]
): Promise<TenantFile[]> {
  const owner = { ...actor, email: '', headers: { authorization: `Bearer ${actor.token}` } }
  const files: TenantFile[] = []
  for (const truth of contents) {
    const body = accountForm(truth, `invoice ${truth.length} of ${name}.bin`)
    const answer = await api(server, owner, 'POST', '/files', { body })
    const { id } = (answer.body as { data: FileJson }).data
    const pinKey = await pinKeyOf(server, actor)
    files.push({
      dialect: 'privasfer',
      name: `account file of ${truth.length} bytes of ${name}`,
      truth,
      path: `/api/files/${id}/download`,
      headers: { ...owner.headers, 'x-pin-key': pinKey },
      id,
    })
  }
  return files
}

const pinKeys = new Map<string, string>()

async function pinKeyOf(server: Server, actor: Actor): Promise<string> {
  const known = pinKeys.get(actor.id)
  if (known) return known
  const { key } = await server.core.pins.unlock(actor.id, '2734', '127.0.0.1')
  pinKeys.set(actor.id, key)
  return key
}

async function companyFiles(
  server: Server,
  company: { id: string },
  actor: Actor,
  small: Buffer,
  large: Buffer,
): Promise<TenantFile[]> {
  const member = client(server, company, actor)
  const whole = resourceOf(await member.upload(small, { filename: 'plan.txt' }))
  const inChunks = resourceOf(await member.init({ filename: 'film.mkv', total_size: large.length }))
  const half = 2 * CHUNK
  await member.send(inChunks.id, large.subarray(0, half), chunkQuery(1, 2, large.length))
  await member.send(inChunks.id, large.subarray(half), chunkQuery(2, 2, large.length))
  return [[whole.id, small] as const, [inChunks.id, large] as const].map(([id, truth]) => ({
    dialect: 'twake',
    name: `company file of ${truth.length} bytes`,
    truth,
    path: filesPath(company, id, '/download'),
    headers: bearer(actor),
    id,
  }))
}

async function boxFiles(
  server: Server,
  person: SignedIn,
  boxId: string,
  ...contents: Buffer[]
): Promise<TenantFile[]> {
  const files: TenantFile[] = []
  for (const truth of contents) {
    const { fileId } = await upload(server, person, boxId, truth)
    const saved = await savedUpload(server, person, truth)
    for (const [what, id] of [
      ['box', fileId],
      ['saved', saved.encrypted_file_id],
    ] as const) {
      files.push({
        dialect: 'misakey',
        name: `${what} file of ${truth.length} bytes`,
        truth,
        path: `/encrypted-files/${id}`,
        headers: person.headers,
        id,
      })
    }
  }
  await server.core.boxMessages.sendText(person.id, boxId, {
    encrypted: 'bm9vbg',
    publicKey: PUBLIC_KEY,
  })
  return files
}

/** What came over the wire, however it ended. */
export interface Received {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly bytes: Buffer
  /** Whether the answer came to its proper end. */
  readonly whole: boolean
}

/** Sends a request and takes whatever comes, also from a connection that is cut. */
export function receive(
  server: Server,
  { path, headers }: { path: string; headers: Record<string, string> },
  more: Record<string, string> = {},
  method = 'GET',
): Promise<Received> {
  return new Promise((resolve, reject) => {
    const sent = request(`${server.address}${path}`, { method, headers: { ...headers, ...more } })
    sent.once('error', reject)
    sent.once('response', (response) => {
      const pieces: Buffer[] = []
      const end = () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          bytes: Buffer.concat(pieces),
          whole: response.complete,
        })
      response.on('data', (piece: Buffer) => pieces.push(piece))
      response.once('error', () => undefined)
      response.once('close', end)
    })
    sent.end()
  })
}
