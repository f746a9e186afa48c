import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { Ajv } from 'ajv'
import {
  bearer,
  client,
  createCompany,
  fileForm,
  filesPath,
  resourceOf,
} from '../helpers/companies.ts'
import { svg } from '../helpers/pictures.ts'
import {
  createBox,
  PUBLIC_KEY,
  type SignedIn,
  signIn,
  startTestServer,
  type TestServer,
  upload,
  uploadForm,
} from '../helpers/server.ts'

/** A request and what it should answer; the path is written as in the document. */
interface Call {
  operation: string
  path: string
  status: number
  init?: RequestInit
}

interface OpenApi {
  openapi: string
  paths: Record<string, Record<string, { responses: Record<string, Response> }>>
}

interface Response {
  content?: Record<string, { schema: object }>
}

test('the documents describe every operation and what it really answers', async (t) => {
  const server = await startTestServer(t, {
    HOLDFAST_METRICS_TOKEN: 'metrics',
    HOLDFAST_PREVIEW_MAX_MB: '1',
  })
  const calls = {
    misakey: await misakeyCalls(server),
    privasfer: await privasferCalls(server),
    native: await nativeCalls(server),
    twake: await twakeCalls(server),
  }
  for (const [name, made] of Object.entries(calls)) {
    await t.test(name, async () => {
      const answer = await fetch(`${server.address}/openapi/${name}.json`)
      assert.equal(answer.status, 200)
      const document = (await answer.json()) as OpenApi
      assert.equal(document.openapi, '3.1.0')
      for (const call of made) await check(server, document, call)
      const called = new Set(made.map(({ operation }) => operation))
      assert.deepEqual(
        operationsOf(document).filter((operation) => !called.has(operation)),
        [],
        'operations that this test does not call',
      )
    })
  }
})

function operationsOf({ paths }: OpenApi): string[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
}

/** Makes the call and holds its answer against the document. */
async function check(server: TestServer, document: OpenApi, call: Call): Promise<void> {
  const [method = '', pattern = ''] = call.operation.split(' ')
  const described = document.paths[pattern]?.[method.toLowerCase()]
  assert.ok(described, `${call.operation} is not in the document`)
  const answer = await fetch(server.address + call.path, { method, ...call.init })
  assert.equal(answer.status, call.status, `${call.operation}: ${await answer.clone().text()}`)
  const family = `${Math.floor(call.status / 100)}XX`
  const response = described.responses[call.status] ?? described.responses[family]
  assert.ok(response, `${call.operation} does not document ${call.status}`)
  const schema = response.content?.['application/json']?.schema
  if (method === 'HEAD' || !answer.headers.get('content-type')?.includes('json')) return
  assert.ok(schema, `${call.operation} documents no JSON for ${call.status}`)
  const validate = new Ajv({ strict: false, logger: false }).compile(schema)
  const body: unknown = await answer.json()
  assert.ok(validate(body), `${call.operation}: ${JSON.stringify([validate.errors, body])}`)
}

function json(headers: Record<string, string>, body: unknown): RequestInit {
  return {
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  }
}

async function twakeCalls(server: TestServer): Promise<Call[]> {
  const company = await createCompany(server)
  const headers = bearer(company.member)
  const files = '/internal/services/files/v1/companies/{company_id}/files'
  const mia = client(server, company, company.member)
  const picture = { filename: 'a.svg', thumbnail_sync: 1 }
  const { id } = resourceOf(await mia.upload(svg(), picture))
  const body = () => fileForm(randomBytes(10))
  const get = (rest: string, status = 200): Call => ({
    operation: `GET ${files}/{id}${rest.replace(/\/\d/, '/{index}').replace(/\?.*/, '')}`,
    path: filesPath(company, id, rest),
    status,
    init: { headers },
  })
  const post = (operation: string, path: string, init: RequestInit, status = 200): Call => ({
    operation: `POST ${operation}`,
    path,
    status,
    init: { method: 'POST', headers, ...init },
  })
  const { id: open } = resourceOf(await mia.init())
  const head = (rest: string, status: number): Call => ({
    operation: `HEAD ${files}/{id}${rest.replace('/0', '/{index}')}`,
    path: filesPath(company, id, rest),
    status,
    init: { headers },
  })
  return [
    head('/download', 200),
    head('/thumbnails/0', 200),
    post(files, filesPath(company), { body: body() }),
    post(files, filesPath(company), {}),
    post(files, filesPath(company), { headers: {} }, 401),
    post(`${files}/{id}`, filesPath(company, open, '?filename=a&filename=b'), { body: body() }),
    post(`${files}/{id}`, filesPath(company, id), { body: body() }, 403),
    get(''),
    get('?chunk_number=2', 204),
    get('/upload'),
    get('/download'),
    get('/download/url'),
    get('/thumbnails/0'),
    get('/thumbnails/1', 404),
    get('/thumbnails/0/url'),
    {
      operation: `DELETE ${files}/{id}`,
      path: filesPath(company, id),
      status: 200,
      init: { headers },
    },
  ]
}

async function misakeyCalls(server: TestServer): Promise<Call[]> {
  const ann = await signIn(server, 'Ann Example')
  const { headers } = ann
  const box = await createBox(server, ann)
  const doomed = await createBox(server, ann)
  const { fileId } = await upload(server, ann, box)
  const saved = await server.core.savedFiles.save(ann.id, fileId, TEXT)
  const form = uploadForm(randomBytes(10))
  form.append('encrypted_metadata', 'x')
  form.append('key_fingerprint', 'x')
  const share = { share: 'c2hhcmU', other_share_hash: 'aGFzaA', box_id: box }
  await server.core.boxKeyShares.add(ann.id, box, {
    hash: 'b3RoZXI',
    misakeyShare: 'c2hhcmU',
    encryptedInvitationKeyShare: 'ZW5j',
  })
  const get = (operation: string, path: string): Call => ({
    operation: `GET ${operation}`,
    path,
    status: 200,
    init: { headers },
  })
  const head = (operation: string, path: string): Call => ({
    operation: `HEAD ${operation}`,
    path,
    status: 204,
    init: { headers },
  })
  return [
    get('/csrf', '/csrf'),
    get('/version', '/version'),
    get('/identities/{id}', `/identities/${ann.id}`),
    {
      operation: 'PATCH /identities/{id}',
      path: `/identities/${ann.id}`,
      status: 204,
      init: json(headers, { display_name: 'Ann Other', pubkey: PUBLIC_KEY }),
    },
    get('/identities/pubkey', `/identities/pubkey?identifier_value=${ann.email}`),
    {
      operation: 'POST /boxes',
      path: '/boxes',
      status: 201,
      init: json(headers, { title: 'One', public_key: PUBLIC_KEY }),
    },
    { operation: 'POST /boxes', path: '/boxes', status: 400, init: json(headers, {}) },
    get('/boxes/joined', '/boxes/joined'),
    head('/boxes/joined', '/boxes/joined'),
    get('/boxes/{id}', `/boxes/${box}`),
    get('/boxes/{id}/public', `/boxes/${box}/public?other_share_hash=b3RoZXI`),
    {
      operation: 'DELETE /boxes/{id}',
      path: `/boxes/${doomed}`,
      status: 204,
      init: json(headers, { user_confirmation: 'delete' }),
    },
    get('/boxes/{id}/members', `/boxes/${box}/members`),
    {
      operation: 'PUT /boxes/{id}/new-events-count/ack',
      path: `/boxes/${box}/new-events-count/ack`,
      status: 204,
      init: json(headers, { identity_id: ann.id }),
    },
    get('/box-users/{id}/boxes/{bid}/settings', `/box-users/${ann.id}/boxes/${box}/settings`),
    {
      operation: 'PUT /box-users/{id}/boxes/{bid}/settings',
      path: `/box-users/${ann.id}/boxes/${box}/settings`,
      status: 204,
      init: json(headers, { muted: true }),
    },
    {
      operation: 'POST /box-key-shares',
      path: '/box-key-shares',
      status: 201,
      init: json(headers, share),
    },
    get('/box-key-shares/{hash}', '/box-key-shares/b3RoZXI'),
    get(
      '/box-key-shares/encrypted-invitation-key-share',
      `/box-key-shares/encrypted-invitation-key-share?box_id=${box}`,
    ),
    {
      operation: 'POST /boxes/{id}/events',
      path: `/boxes/${box}/events`,
      status: 201,
      init: json(headers, {
        type: 'msg.text',
        content: { encrypted: 'aGk', public_key: PUBLIC_KEY },
      }),
    },
    get('/boxes/{id}/events', `/boxes/${box}/events`),
    head('/boxes/{id}/events', `/boxes/${box}/events`),
    get('/boxes/{id}/files', `/boxes/${box}/files`),
    head('/boxes/{id}/files', `/boxes/${box}/files`),
    {
      operation: 'POST /boxes/{id}/encrypted-files',
      path: `/boxes/${box}/encrypted-files`,
      status: 201,
      init: { headers, body: uploadForm(randomBytes(10)) },
    },
    get('/encrypted-files/{id}', `/encrypted-files/${fileId}`),
    {
      operation: 'HEAD /encrypted-files/{id}',
      path: `/encrypted-files/${fileId}`,
      status: 200,
      init: { headers },
    },
    {
      operation: 'POST /saved-files',
      path: '/saved-files',
      status: 409,
      init: json(headers, {
        identity_id: ann.id,
        encrypted_file_id: fileId,
        encrypted_metadata: 'x',
        key_fingerprint: 'x',
      }),
    },
    get('/saved-files', '/saved-files'),
    head('/saved-files', '/saved-files'),
    {
      operation: 'DELETE /saved-files/{id}',
      path: `/saved-files/${saved.id}`,
      status: 204,
      init: { headers },
    },
    {
      operation: 'POST /saved-files',
      path: '/saved-files',
      status: 201,
      init: json(headers, {
        identity_id: ann.id,
        encrypted_file_id: fileId,
        encrypted_metadata: 'x',
        key_fingerprint: 'x',
      }),
    },
    {
      operation: 'POST /box-users/{id}/saved-files',
      path: `/box-users/${ann.id}/saved-files`,
      status: 201,
      init: { headers, body: form },
    },
    get('/box-users/{id}/storage-quota', `/box-users/${ann.id}/storage-quota`),
    get('/box-used-spaces', `/box-used-spaces?identity_id=${ann.id}`),
    get('/box-users/{id}/vault-used-space', `/box-users/${ann.id}/vault-used-space`),
    {
      operation: 'POST /auth/logout',
      path: '/auth/logout',
      status: 204,
      init: { headers: (await signInElsewhere(server, ann)).headers },
    },
  ]
}

const TEXT = { encryptedMetadata: 'x', keyFingerprint: 'x' }

function signInElsewhere(
  server: TestServer,
  { id }: SignedIn,
): Promise<{ headers: Record<string, string> }> {
  return server.core.sessions
    .create(id, 2)
    .then(({ token }) => ({ headers: { authorization: `Bearer ${token}` } }))
}

async function privasferCalls(server: TestServer): Promise<Call[]> {
  const { id } = await server.core.identities.createPerson({
    email: 'bob@example.com',
    name: 'Bob Example',
  })
  const { token } = await server.core.tokens.create(id, 'test')
  const headers = { authorization: `Bearer ${token}` }
  const files = [await accountFile(server, id), await accountFile(server, id)] as const
  const [one, other] = files
  await server.core.pins.set(id, '1a2s3d')
  const unlocked = await server.core.pins.unlock(id, '1a2s3d', '')
  const closing = await server.core.pins.unlock(id, '1a2s3d', '')
  const download = await server.core.downloads.create(id, [one])
  const opened = await Promise.all(
    ['/api/downloads', '/download', '/api/downloads', '/download'].map(async (prefix) => {
      const made = await server.core.downloads.create(id, [one])
      const key = await server.core.downloads.issueKey(id, made.id, unlocked.key)
      return { operation: `${prefix}/{download}/{key}`, path: `${prefix}/${made.id}/${key}` }
    }),
  )
  const form = new FormData()
  form.append('file', new Blob(['hello']), 'hello.txt')
  const unlockedHeaders = { ...headers, 'x-pin-key': unlocked.key }
  return [
    { operation: 'GET /api/files', path: '/api/files', status: 200, init: { headers } },
    { operation: 'GET /api/files', path: '/api/files', status: 401 },
    {
      operation: 'GET /api/files',
      path: '/api/files?page=1&include=category',
      status: 200,
      init: { headers },
    },
    {
      operation: 'POST /api/files',
      path: '/api/files',
      status: 201,
      init: { headers, body: form },
    },
    {
      operation: 'POST /api/files',
      path: '/api/files',
      status: 422,
      init: { headers, body: new FormData() },
    },
    { operation: 'GET /api/files/{id}', path: `/api/files/${one}`, status: 200, init: { headers } },
    ...['GET', 'HEAD'].map((method) => ({
      operation: `${method} /api/files/{id}/download`,
      path: `/api/files/${one}/download`,
      status: 200,
      init: { headers: unlockedHeaders },
    })),
    {
      operation: 'DELETE /api/files/{id}',
      path: `/api/files/${other}`,
      status: 204,
      init: { headers },
    },
    {
      operation: 'POST /api/keys',
      path: '/api/keys',
      status: 201,
      init: json(headers, { pin: '1a2s3d' }),
    },
    {
      operation: 'DELETE /api/keys/{key}',
      path: `/api/keys/${closing.key}`,
      status: 204,
      init: { headers },
    },
    {
      operation: 'POST /api/downloads',
      path: '/api/downloads',
      status: 201,
      init: json(headers, { files: [one] }),
    },
    {
      operation: 'POST /api/downloads/{id}/keys',
      path: `/api/downloads/${download.id}/keys`,
      status: 201,
      init: json(headers, { pinKey: unlocked.key }),
    },
    ...opened.map(({ operation, path }, index) => ({
      operation: `${index < 2 ? 'HEAD' : 'GET'} ${operation}`,
      path,
      status: 200,
    })),
    { operation: 'GET /api/user', path: '/api/user', status: 200, init: { headers } },
    { operation: 'GET /images/no_image.png', path: '/images/no_image.png', status: 200 },
  ]
}

async function accountFile(server: TestServer, ownerId: string): Promise<string> {
  const staged = await server.core.blobs.stage(
    (async function* () {
      yield randomBytes(100)
    })(),
    1000,
  )
  const file = { name: 'a.bin', type: 'application/octet-stream' }
  return (await server.core.accountFiles.create(ownerId, staged, file)).id
}

async function nativeCalls(server: TestServer): Promise<Call[]> {
  const cy = await signIn(server, 'Cy Example')
  const { headers } = cy
  const { id } = await server.core.tokens.create(cy.id, 'old')
  const metrics = { headers: { authorization: 'Bearer metrics' } }
  const reads = ['/v1/me', '/v1/tokens', '/health/live', '/health/ready'].map((path) => ({
    operation: `GET ${path}`,
    path,
    status: 200,
    init: { headers },
  }))
  return [
    ...reads,
    { operation: 'GET /v1/me', path: '/v1/me', status: 401 },
    { operation: 'GET /metrics', path: '/metrics', status: 200, init: metrics },
    {
      operation: 'PATCH /v1/me',
      path: '/v1/me',
      status: 200,
      init: json(headers, { time_zone: 'Europe/Vilnius', pin: '1234' }),
    },
    {
      operation: 'POST /v1/tokens',
      path: '/v1/tokens',
      status: 201,
      init: json(headers, { name: 'new', expires_at: '2030-01-01T00:00:00Z' }),
    },
    {
      operation: 'DELETE /v1/tokens/{id}',
      path: `/v1/tokens/${id}`,
      status: 204,
      init: { headers },
    },
  ]
}
