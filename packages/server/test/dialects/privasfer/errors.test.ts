import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  api,
  createOwner,
  invalid,
  message,
  type Owner,
  pinKeyOf,
  stored,
} from '../../helpers/account.ts'
import { call, head, outcome, RawConnection } from '../../helpers/http.ts'
import { signIn, startTestServer, type TestServer } from '../../helpers/server.ts'
import { tamper } from '../../helpers/store.ts'

const UNAUTHENTICATED = message(401, 'Unauthenticated.')

/** What a client may say that it accepts; the answer is JSON all the same. */
const ACCEPTS = [undefined, '*/*', 'application/json', 'text/html']

/** A request without anything that a library would add. */
async function bare(
  server: TestServer,
  method: string,
  path: string,
  headers: Record<string, string | number>,
  body = '',
) {
  const connection = new RawConnection(server)
  await connection.send(head(method, path, { connection: 'close', ...headers }), body)
  return connection.answer()
}

test('without a valid token there is 401, whatever is accepted', async (t) => {
  const server = await startTestServer(t)
  const who = await createOwner(server)
  const signedIn = await signIn(server, 'Signed In')
  const revoked = await createOwner(server, 'Revoked')
  const [token] = await server.core.tokens.list(revoked.id)
  await server.core.tokens.revoke(token?.id ?? '')
  const expiring = await server.core.tokens.create(who.id, 'old', server.clock.now + 1000)
  server.clock.advance(1000)
  const bad: Record<string, string>[] = [
    {},
    { authorization: '' },
    { authorization: 'Bearer' },
    { authorization: `Bearer ${who.token.slice(1)}` },
    { authorization: `Bearer ${who.token.toLowerCase()}` },
    { authorization: `Basic ${Buffer.from(`x:${who.token}`).toString('base64')}` },
    { authorization: `Token ${who.token}` },
    { authorization: revoked.headers.authorization },
    { authorization: `Bearer ${expiring.token}` },
    // A session is no API token.
    { authorization: `Bearer ${signedIn.accessToken}` },
    { cookie: `accesstoken=${signedIn.accessToken}; tokentype=bearer` },
  ]
  const paths: [string, string][] = [
    ['GET', '/api/files'],
    ['POST', '/api/files'],
    ['GET', '/api/files/fad2027a-ac89-4ef4-baab-95b2fb316cf1'],
    ['DELETE', '/api/files/fad2027a-ac89-4ef4-baab-95b2fb316cf1'],
    ['GET', '/api/files/fad2027a-ac89-4ef4-baab-95b2fb316cf1/download'],
    ['POST', '/api/keys'],
    ['DELETE', '/api/keys/x'],
    ['POST', '/api/downloads'],
    ['POST', '/api/downloads/x/keys'],
    ['GET', '/api/user'],
    ['GET', `/api/user?api_token=${who.token}`],
  ]
  for (const [method, path] of paths) {
    assert.deepEqual(outcome(await call(server, method, path)), UNAUTHENTICATED, path)
  }
  for (const headers of bad) {
    assert.deepEqual(outcome(await call(server, 'GET', '/api/files', { headers })), UNAUTHENTICATED)
  }
  for (const accept of ACCEPTS) {
    const headers = accept === undefined ? {} : { accept }
    const answer = await bare(server, 'GET', '/api/files', headers as Record<string, string>)
    assert.deepEqual(outcome(answer), UNAUTHENTICATED)
    assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8')
  }
  const scheme = { authorization: `bearer ${who.token}` }
  assert.equal((await call(server, 'GET', '/api/files', { headers: scheme })).status, 200)
})

test('every refusal has the documented body, also without Accept', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_API_RATE_LIMIT: '1000' })
  const who = await createOwner(server, 'Author Name', { pin: '1a2s3d' })
  const { id } = await stored(server, who, 'a.txt', 'the bytes')
  const key = await pinKeyOf(server, who, '1a2s3d')
  const json = { 'content-type': 'application/json' }
  const long = JSON.stringify({ pin: 'x'.repeat(3 * 1024 * 1024) })
  const cases: [
    string,
    string,
    Record<string, string>,
    string,
    { status: number; body: unknown },
  ][] = [
    [
      'GET',
      '/api/files?sort=x',
      {},
      '',
      message(
        400,
        'Given sort(s) `x` is not allowed. Allowed sort(s) are `filename_original, size, encrypted_size, created_at`.',
      ),
    ],
    ['GET', `/api/files/${id}/download`, {}, '', message(403, 'This action is unauthorized.')],
    ['GET', '/api/files/x', {}, '', message(404, 'Not Found.')],
    ['GET', '/api/bogus', {}, '', message(404, 'Not Found.')],
    ['GET', '/api', {}, '', message(404, 'Not Found.')],
    ['PATCH', '/api/nothing/here', {}, '', message(404, 'Not Found.')],
    ['GET', '/download/x/y', {}, '', message(404, 'Not Found.')],
    [
      'PUT',
      '/api/files',
      {},
      '',
      message(
        405,
        'The PUT method is not supported for this route. Supported methods: GET, HEAD, POST.',
      ),
    ],
    [
      'POST',
      '/api/user',
      json,
      '{}',
      message(
        405,
        'The POST method is not supported for this route. Supported methods: GET, HEAD.',
      ),
    ],
    [
      'GET',
      '/api/keys',
      {},
      '',
      message(405, 'The GET method is not supported for this route. Supported methods: POST.'),
    ],
    [
      'POST',
      '/download/x/y',
      {},
      '',
      message(
        405,
        'The POST method is not supported for this route. Supported methods: GET, HEAD.',
      ),
    ],
    ['POST', '/api/keys', json, long, message(413, 'Request body is too large')],
    ['POST', '/api/keys', json, '{}', invalid({ pin: ['The pin field is required.'] })],
    ['POST', '/api/files', {}, '', invalid({ file: ['The file field is required.'] })],
  ]
  for (const [method, path, headers, body, expected] of cases) {
    const length = body === '' ? {} : { 'content-length': body.length }
    const answer = await bare(server, method, path, { ...who.headers, ...headers, ...length }, body)
    assert.deepEqual(outcome(answer), expected, `${method} ${path}`)
    assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8')
    assert.equal(answer.headers.get('cache-control'), 'no-store')
    assert.ok(answer.headers.has('x-ratelimit-remaining'), `${method} ${path}`)
  }
  await tamper(server.config, 'update small_content set sealed = ?', Buffer.of(0))
  const headers = { ...who.headers, 'x-pin-key': key }
  const failed = await bare(server, 'GET', `/api/files/${id}/download`, headers)
  assert.deepEqual(outcome(failed), message(500, 'Server Error'))
  assert.ok(failed.headers.has('x-ratelimit-remaining'))
})

test('a verb that a path has not names those that it has', async (t) => {
  const server = await startTestServer(t)
  const cases: [string, string, string][] = [
    ['PUT', '/api/files', 'GET, HEAD, POST'],
    ['POST', '/api/files/x', 'DELETE, GET, HEAD'],
    ['DELETE', '/api/files/x/download', 'GET, HEAD'],
    ['PUT', '/api/downloads/x/keys', 'POST'],
    ['GET', '/api/keys/x', 'DELETE'],
  ]
  for (const [method, path, allow] of cases) {
    const answer = await call(server, method, path)
    assert.deepEqual([answer.status, answer.headers.get('allow')], [405, allow], path)
  }
})

test('JSON with nothing in it is no body, on any method', async (t) => {
  const server = await startTestServer(t)
  const who = await createOwner(server)
  const { id } = await stored(server, who, 'a.txt')
  const headers = { 'content-type': 'application/json' }
  assert.equal((await api(server, who, 'GET', '/files', { headers })).status, 200)
  assert.equal((await api(server, who, 'HEAD', '/files', { headers })).status, 200)
  assert.equal((await api(server, who, 'POST', '/downloads', { headers })).status, 422)
  assert.equal((await api(server, who, 'DELETE', `/files/${id}`, { headers })).status, 204)
  const broken = await api(server, who, 'POST', '/keys', { headers, body: '{"pin":' })
  assert.equal(broken.status, 400)
  assert.deepEqual(Object.keys(broken.body as object), ['message'])
})

test('the picture of everybody is there for everybody', async (t: import('node:test').TestContext) => {
  const server = await startTestServer(t)
  const who: Owner = await createOwner(server)
  const { data } = (await api(server, who, 'GET', '/user')).body as { data: { photo_url: string } }
  const path = data.photo_url.slice(server.config.publicUrl.length)
  const answer = await call(server, 'GET', path)
  assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, 'image/png'])
  assert.equal(answer.bytes.subarray(1, 4).toString(), 'PNG')
  assert.equal((await call(server, 'HEAD', path)).status, 200)
})
