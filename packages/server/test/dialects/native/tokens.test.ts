import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createOwner } from '../../helpers/account.ts'
import { type Answer, call, outcome } from '../../helpers/http.ts'
import { signIn, signInAgain, startTestServer } from '../../helpers/server.ts'
import { rowsOf } from '../../helpers/store.ts'

interface Created {
  token: string
  id: string
}

async function scene(t: TestContext) {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  return {
    server,
    ann,
    create: (json: unknown) => call(server, 'POST', '/v1/tokens', { as: ann, json }),
    list: async () =>
      (
        (await call(server, 'GET', '/v1/tokens', { as: ann })).body as {
          tokens: Record<string, unknown>[]
        }
      ).tokens,
    use: (token: string) =>
      call(server, 'GET', '/api/user', { headers: { authorization: `Bearer ${token}` } }),
  }
}

const created = ({ body }: Answer) => body as Created

test('a token is shown once, works, and is listed without itself', async (t) => {
  const { create, list, use } = await scene(t)
  assert.deepEqual(await list(), [])
  const answer = await create({ name: 'laptop' })
  const { token, id } = created(answer)
  assert.deepEqual(outcome(answer), { status: 201, body: { token, id } })
  assert.equal(answer.headers.get('cache-control'), 'no-store')
  assert.match(token, /^[0-9A-Za-z]{60}$/)
  assert.deepEqual(await list(), [
    {
      id,
      name: 'laptop',
      created_at: '2026-01-15T12:00:00.000Z',
      last_used_at: null,
      expires_at: null,
    },
  ])
  assert.equal((await use(token)).status, 200)
})

test('the last use is recorded, to the minute', async (t) => {
  const { server, create, list, use } = await scene(t)
  const { token } = created(await create({ name: 'laptop' }))
  const lastUse = async () => (await list())[0]?.last_used_at
  server.clock.advance(5000)
  await use(token)
  assert.equal(await lastUse(), '2026-01-15T12:00:05.000Z')
  server.clock.advance(59_999)
  await use(token)
  assert.equal(await lastUse(), '2026-01-15T12:00:05.000Z')
  server.clock.advance(1)
  await use(token)
  assert.equal(await lastUse(), '2026-01-15T12:01:05.000Z')
})

test('a token ends when it is revoked or expires, and at once', async (t) => {
  const { server, ann, create, list, use } = await scene(t)
  const forever = created(await create({ name: 'forever' }))
  const hour = created(await create({ name: 'an hour', expires_at: '2026-01-15T15:00:00+02:00' }))
  assert.equal(
    (await list()).find(({ id }) => id === hour.id)?.expires_at,
    '2026-01-15T13:00:00.000Z',
  )
  server.clock.advance(3600 * 1000 - 1)
  assert.equal((await use(hour.token)).status, 200)
  server.clock.advance(1)
  assert.equal((await use(hour.token)).status, 401)
  assert.equal((await use(forever.token)).status, 200)
  const revoke = (id: string) => call(server, 'DELETE', `/v1/tokens/${id}`, { as: ann })
  assert.deepEqual(outcome(await revoke(forever.id)), { status: 204, body: undefined })
  assert.equal((await use(forever.token)).status, 401)
  assert.equal((await revoke(forever.id)).status, 404)
  assert.deepEqual(
    (await list()).map(({ name }) => name),
    ['an hour'],
  )
})

test('nobody lists or revokes the tokens of somebody else', async (t) => {
  const { server, create, list } = await scene(t)
  const { id } = created(await create({ name: 'laptop' }))
  const ben = await signIn(server, 'Ben Example')
  const answer = await call(server, 'DELETE', `/v1/tokens/${id}`, { as: ben })
  assert.deepEqual(outcome(answer), {
    status: 404,
    body: { type: 'about:blank', title: 'Not Found', status: 404, detail: 'no such token' },
  })
  const theirs = await call(server, 'GET', '/v1/tokens', { as: ben })
  assert.deepEqual(theirs.body, { tokens: [] })
  assert.equal((await list()).length, 1)
})

test('a token needs a name, and an expiry that is a time with a zone', async (t) => {
  const { create, list } = await scene(t)
  const wrong: unknown[] = [
    undefined,
    {},
    { name: '' },
    { name: 'x'.repeat(255) },
    { name: 7 },
    { name: 'x', expires_at: 'tomorrow' },
    { name: 'x', expires_at: '2026-01-15' },
    { name: 'x', expires_at: '2026-01-15T12:00:00' },
    { name: 'x', expires_at: '2026-13-15T12:00:00Z' },
    { name: 'x', expires_at: 1_768_478_400_000 },
    { name: 'x', abilities: ['*'] },
  ]
  for (const json of wrong) {
    assert.equal((await create(json)).status, 400, JSON.stringify(json))
  }
  assert.deepEqual(await list(), [])
})

test('tokens are made by a session with a password only, never by another token', async (t) => {
  const { server, ann, list } = await scene(t)
  const owner = await createOwner(server)
  const weak = await signInAgain(server, ann, 1)
  const { cookie } = ann.headers as { cookie: string }
  const cases: [Record<string, string>, number][] = [
    [{}, 403],
    [owner.headers, 401],
    [weak.headers, 403],
    [{ cookie }, 403],
    [{ cookie, 'x-csrf-token': weak.csrfToken }, 403],
  ]
  for (const [headers, status] of cases) {
    const answer = await call(server, 'POST', '/v1/tokens', { headers, json: { name: 'x' } })
    assert.equal(answer.status, status, JSON.stringify(headers))
  }
  assert.equal((await call(server, 'GET', '/v1/tokens', { headers: owner.headers })).status, 401)
  assert.deepEqual(await list(), [])
})

test('the database has neither a token nor its name', async (t) => {
  const { server, create } = await scene(t)
  const { token } = created(await create({ name: 'NAMECANARY' }))
  const rows = await rowsOf(server.config, 'select * from api_token')
  const text = rows
    .flatMap((row) => Object.values(row))
    .map((value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value),
    )
    .join('\n')
  assert.equal(rows.length, 1)
  assert.ok(!text.includes(token))
  assert.ok(!text.includes('NAMECANARY'))
})
