import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createOwner, type FileJson, stored } from '../../helpers/account.ts'
import { type Answer, call, outcome } from '../../helpers/http.ts'
import { type SignedIn, signIn, signInAgain, startTestServer } from '../../helpers/server.ts'

async function scene(t: TestContext) {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const patch = (json: unknown, as: SignedIn = ann) => call(server, 'PATCH', '/v1/me', { as, json })
  const me = async () => (await call(server, 'GET', '/v1/me', { as: ann })).body
  return { server, ann, patch, me }
}

const titled = ({ status, body }: Answer) => [status, (body as { title: string }).title]

test('a person reads and changes her name and time zone', async (t) => {
  const { server, ann, patch, me } = await scene(t)
  const before = {
    id: ann.id,
    email: ann.email,
    name: 'Ann Example',
    time_zone: 'UTC',
    has_pin: false,
  }
  assert.deepEqual(await me(), before)
  assert.deepEqual(outcome(await patch({})), { status: 200, body: before })
  const moved = { ...before, time_zone: 'Europe/Vilnius' }
  assert.deepEqual(outcome(await patch({ time_zone: 'Europe/Vilnius' })), {
    status: 200,
    body: moved,
  })
  const renamed = { ...moved, name: 'Ann Ąžuolas' }
  assert.deepEqual(outcome(await patch({ name: 'Ann Ąžuolas' })), { status: 200, body: renamed })
  assert.deepEqual(await me(), renamed)

  // What her programs see is the same person.
  const { token } = await server.core.tokens.create(ann.id, 'test')
  const headers = { authorization: `Bearer ${token}` }
  await stored(server, ann, 'a.txt')
  const { data } = (await call(server, 'GET', '/api/files', { headers })).body as {
    data: FileJson[]
  }
  assert.deepEqual(
    [data[0]?.created_by.initials, data[0]?.created_by.timezone, data[0]?.created_at],
    ['Ann Ą.', 'Europe/Vilnius', '2026-01-15 14:00:00'],
  )
})

test('a PIN is set and replaced, and never shown', async (t) => {
  const { server, ann, patch, me } = await scene(t)
  const answer = await patch({ pin: '1a2s3d' })
  assert.equal(answer.status, 200)
  assert.equal((answer.body as { has_pin: boolean }).has_pin, true)
  assert.ok(!answer.bytes.includes('1a2s3d'))
  assert.equal(((await me()) as { has_pin: boolean }).has_pin, true)
  const { key } = await server.core.pins.unlock(ann.id, '1a2s3d', '192.0.2.1')
  assert.equal((await patch({ pin: '~another!' })).status, 200)
  assert.equal(await server.core.pins.isUnlocked(ann.id, key), false)
  await server.core.pins.unlock(ann.id, '~another!', '192.0.2.1')
})

test('a change that is wrong in one part changes nothing', async (t) => {
  const { patch, me } = await scene(t)
  const before = await me()
  const wrong: Record<string, unknown>[] = [
    { name: '' },
    { name: 'x'.repeat(255) },
    { name: 7 },
    { name: 'New', time_zone: 'Mars/Olympus_Mons' },
    { name: 'New', time_zone: '' },
    { name: 'New', pin: '123' },
    { name: 'New', pin: 'x'.repeat(65) },
    { name: 'New', pin: 'ąčęė' },
    { name: 'New', pin: '12 34' },
    { name: 'New', pin: 123_456 },
    { name: 'New', email: 'other@example.com' },
    { pin: '1a2s3d', time_zone: 'Mars/Olympus_Mons' },
  ]
  for (const json of wrong) {
    const answer = await patch(json)
    const isZone = String(json.time_zone).startsWith('Mars')
    const expected = isZone ? [422, 'Unprocessable Entity'] : [400, 'Bad Request']
    assert.deepEqual(titled(answer), expected, JSON.stringify(json))
  }
  assert.deepEqual(await me(), before)
})

test('settings are for a session with a password, and its CSRF token', async (t) => {
  const { server, ann } = await scene(t)
  const owner = await createOwner(server)
  const weak = await signInAgain(server, ann, 1)
  const { cookie } = ann.headers as { cookie: string }
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
  const cases: [Record<string, string>, number, number][] = [
    [{}, 401, 403],
    [bearer('nobody'), 401, 401],
    [owner.headers, 401, 401],
    [weak.headers, 403, 403],
    [bearer(weak.accessToken), 403, 403],
    [{ cookie }, 200, 403],
    [{ cookie, 'x-csrf-token': 'wrong' }, 200, 403],
    [{ cookie, 'x-csrf-token': weak.csrfToken }, 200, 403],
    [{ cookie: cookie.replace('tokentype=bearer', ''), 'x-csrf-token': ann.csrfToken }, 401, 401],
    [ann.headers, 200, 200],
    [bearer(ann.accessToken), 200, 200],
  ]
  for (const [headers, reading, writing] of cases) {
    const read = await call(server, 'GET', '/v1/me', { headers })
    assert.equal(read.status, reading, JSON.stringify(headers))
    const written = await call(server, 'PATCH', '/v1/me', { headers, json: {} })
    assert.equal(written.status, writing, JSON.stringify(headers))
    const type = written.headers.get('content-type') ?? ''
    if (writing >= 400) assert.match(type, /^application\/problem\+json/)
  }
})

test('an unknown path or verb is a problem of its own', async (t) => {
  const { server, ann } = await scene(t)
  assert.deepEqual(titled(await call(server, 'GET', '/v1/nothing', { as: ann })), [
    ...[404, 'Not Found'],
  ])
  const answer = await call(server, 'DELETE', '/v1/me', { as: ann })
  assert.deepEqual(titled(answer), [405, 'Method Not Allowed'])
  assert.equal(answer.headers.get('allow'), 'GET, HEAD, PATCH')
})
