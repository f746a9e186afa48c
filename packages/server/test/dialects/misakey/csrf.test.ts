import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, countBoxes, outcome, refusal } from '../../helpers/http.ts'
import {
  createBox,
  PUBLIC_KEY,
  type SignedIn,
  signIn,
  signInAgain,
  startTestServer,
  type TestServer,
} from '../../helpers/server.ts'

const INVALID = refusal(403, 'not_defined', 'invalid csrf token', { csrf_token: 'invalid' })

function sessionCookie({ accessToken }: SignedIn): string {
  return `accesstoken=${accessToken}; tokentype=bearer`
}

async function makeBox(server: TestServer, headers: Record<string, string>) {
  return call(server, 'POST', '/boxes', { headers, json: { title: 'A', public_key: PUBLIC_KEY } })
}

test("an unsafe request needs the session's own CSRF token", async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const cookie = sessionCookie(ann)
  const again = await signInAgain(server, ann)

  const wrong: Record<string, Record<string, string>> = {
    'no token': {},
    'an empty token': { 'x-csrf-token': '' },
    'a made-up token': { 'x-csrf-token': 'abc' },
    'the access token itself': { 'x-csrf-token': ann.accessToken },
    "somebody else's token": { 'x-csrf-token': bob.csrfToken },
    'the token of another session of hers': { 'x-csrf-token': again.csrfToken },
    'the token and more': { 'x-csrf-token': `${ann.csrfToken}A` },
    'the token in other case': { 'x-csrf-token': ann.csrfToken.toLowerCase() },
    'an empty _csrf cookie and no header': { cookie: `${cookie}; _csrf=` },
    'an empty _csrf cookie and an empty header': {
      cookie: `${cookie}; _csrf=`,
      'x-csrf-token': '',
    },
    'a _csrf cookie and header that only match each other': {
      cookie: `${cookie}; _csrf=valueDoesNotMatter`,
      'x-csrf-token': 'valueDoesNotMatter',
    },
  }
  for (const [what, headers] of Object.entries(wrong)) {
    await t.test(`${what} is refused, and nothing is done`, async () => {
      assert.deepEqual(outcome(await makeBox(server, { cookie, ...headers })), INVALID)
      assert.equal(await countBoxes(server, ann), 0)
    })
  }

  await t.test('her token is taken, whatever _csrf holds', async () => {
    for (const more of ['', '; _csrf=', '; _csrf=other']) {
      const headers = { cookie: `${cookie}${more}`, 'x-csrf-token': ann.csrfToken }
      assert.equal((await makeBox(server, headers)).status, 201)
    }
  })
})

test('every unsafe verb needs the token', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const box = await createBox(server, ann)
  const headers = { cookie: sessionCookie(ann) }
  for (const [method, path] of [
    ['POST', '/boxes'],
    ['POST', `/boxes/${box}/events`],
    ['POST', `/boxes/${box}/encrypted-files`],
    ['PUT', `/boxes/${box}/new-events-count/ack`],
    ['PATCH', `/identities/${ann.id}`],
    ['DELETE', `/boxes/${box}`],
    ['POST', '/auth/logout'],
  ] as const) {
    assert.deepEqual(outcome(await call(server, method, path, { headers })), INVALID, path)
  }
})

test('GET and HEAD need no token, and a wrong one does not matter', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const cookie = sessionCookie(ann)
  for (const headers of [{ cookie }, { cookie, 'x-csrf-token': 'wrong' }]) {
    assert.equal((await call(server, 'GET', '/boxes/joined', { headers })).status, 200)
    assert.equal((await call(server, 'HEAD', '/boxes/joined', { headers })).status, 204)
  }
})

test('before a session the _csrf cookie is the token, and an empty one passes never', async (t) => {
  const server = await startTestServer(t)
  const answerTo = async (headers: Record<string, string>) =>
    outcome(await makeBox(server, headers))
  const missing = refusal(401, 'not_defined', 'missing authorization')
  assert.deepEqual(await answerTo({ cookie: '_csrf=abc', 'x-csrf-token': 'abc' }), missing)
  for (const headers of [
    {},
    { cookie: '_csrf=' },
    { cookie: '_csrf=', 'x-csrf-token': '' },
    { cookie: '_csrf=abc' },
    { cookie: '_csrf=abc', 'x-csrf-token': 'abd' },
    { 'x-csrf-token': 'abc' },
  ] as Record<string, string>[]) {
    assert.deepEqual(await answerTo(headers), INVALID, JSON.stringify(headers))
  }
})

test('a request that gives Authorization needs no token, and its cookies do not count', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const authorization = `Bearer ${ann.accessToken}`
  assert.equal((await makeBox(server, { authorization })).status, 201)
  assert.deepEqual(
    outcome(await makeBox(server, { authorization: 'x', cookie: sessionCookie(ann) })),
    refusal(401, 'not_defined', 'too much way of giving authorization'),
  )
})

test('GET /csrf tells a stranger a fresh token and gives it to her as a cookie', async (t) => {
  const server = await startTestServer(t)
  const one = await call(server, 'GET', '/csrf')
  assert.equal(one.status, 200)
  const { csrf_token: token } = one.body as { csrf_token: string }
  assert.deepEqual(one.body, { csrf_token: token })
  assert.match(token, /^[\w-]{32}$/)
  assert.deepEqual(one.headers.getSetCookie(), [
    `_csrf=${token}; Max-Age=86400; Path=/; HttpOnly; SameSite=Strict`,
  ])
  const other = await call(server, 'GET', '/csrf')
  assert.notDeepEqual(other.body, one.body)
})

test('GET /csrf tells again the token that the cookie holds', async (t) => {
  const server = await startTestServer(t)
  const answer = await call(server, 'GET', '/csrf', { headers: { cookie: '_csrf=kept' } })
  assert.deepEqual(answer.body, { csrf_token: 'kept' })
  const emptied = await call(server, 'GET', '/csrf', { headers: { cookie: '_csrf=' } })
  assert.match((emptied.body as { csrf_token: string }).csrf_token, /^[\w-]{32}$/)
})

test("GET /csrf tells a session's token, whatever the cookie holds", async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const headers = { cookie: `${sessionCookie(ann)}; _csrf=old` }
  const answer = await call(server, 'GET', '/csrf', { headers })
  assert.deepEqual(answer.body, { csrf_token: ann.csrfToken })
  assert.match(answer.headers.getSetCookie()[0] ?? '', new RegExp(`^_csrf=${ann.csrfToken};`))
})

test('logging out ends this session only and clears its cookies', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example', 1)
  const elsewhere = await signInAgain(server, ann)
  const answer = await call(server, 'POST', '/auth/logout', { as: ann })
  assert.deepEqual(outcome(answer), { status: 204, body: undefined })
  const cleared =
    'Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Strict'
  assert.deepEqual(answer.headers.getSetCookie(), [
    `accesstoken=; ${cleared}`,
    `tokentype=; ${cleared}`,
  ])
  const path = `/identities/${ann.id}`
  assert.equal((await call(server, 'GET', path, { as: ann })).status, 401)
  assert.equal((await call(server, 'POST', '/auth/logout', { as: ann })).status, 401)
  assert.equal((await call(server, 'GET', path, { as: elsewhere })).status, 200)
})

test('cookies are Secure where a trusted proxy says that its client came by https', async (t) => {
  const headers = { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'https' }
  const isSecure = async (environment: NodeJS.ProcessEnv) => {
    const server = await startTestServer(t, environment)
    const answer = await call(server, 'GET', '/csrf', { headers })
    return /; Secure(;|$)/.test(answer.headers.getSetCookie()[0] ?? '')
  }
  const HOLDFAST_TRUSTED_PROXIES = '127.0.0.1'
  assert.equal(await isSecure({ HOLDFAST_TRUSTED_PROXIES }), true)
  assert.equal(await isSecure({ HOLDFAST_TRUSTED_PROXIES: '10.0.0.0/8' }), false)
  assert.equal(await isSecure({}), false)
  const HOLDFAST_PUBLIC_URL = 'http://files.example.com'
  assert.equal(await isSecure({ HOLDFAST_TRUSTED_PROXIES, HOLDFAST_PUBLIC_URL }), false)
})

for (const [address, secure] of [
  ['https://files.example.com', true],
  ['http://files.example.com', false],
] as const) {
  test(`cookies of ${address} are ${secure ? '' : 'not '}Secure`, async (t) => {
    const server = await startTestServer(t, { HOLDFAST_PUBLIC_URL: address })
    const ann = await signIn(server, 'Ann Example')
    const given = await call(server, 'GET', '/csrf')
    const cleared = await call(server, 'POST', '/auth/logout', { as: ann })
    const cookies = [...given.headers.getSetCookie(), ...cleared.headers.getSetCookie()]
    assert.equal(cookies.length, 3)
    for (const cookie of cookies) assert.equal(/; Secure(;|$)/.test(cookie), secure, cookie)
  })
}
