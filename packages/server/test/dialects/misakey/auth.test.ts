import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, outcome, refusal } from '../../helpers/http.ts'
import {
  createBox,
  PUBLIC_KEY,
  signIn,
  signInAgain,
  startTestServer,
} from '../../helpers/server.ts'

const INACTIVE = refusal(401, 'headers', 'token is not active', { Authorization: 'invalid' })
const MISSING = refusal(401, 'not_defined', 'missing authorization')

test('who sends a request', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const path = `/identities/${ann.id}`
  const company = await server.core.companies.create({
    name: 'Kelp',
    owners: [ann.id],
    managers: [],
    members: [],
  })
  const { applicationId: application, token: applicationToken } =
    await server.core.companies.createApplication(company.id, 'Importer')

  const withCookies = (cookie: string) => call(server, 'GET', path, { headers: { cookie } })
  const withBearer = (authorization: string, to = path) =>
    call(server, 'GET', to, { headers: { authorization } })

  await t.test('the cookies accesstoken and tokentype are enough to read', async () => {
    const answer = await withCookies(`accesstoken=${ann.accessToken}; tokentype=bearer`)
    assert.equal(answer.status, 200)
  })

  for (const [what, cookie] of Object.entries({
    'no cookie': '',
    'no tokentype': 'accesstoken=abc',
    'no accesstoken': 'tokentype=bearer',
    'other cookies': 'theme=dark',
  })) {
    await t.test(`${what}: authorization is missing`, async () => {
      assert.deepEqual(outcome(await withCookies(cookie)), MISSING)
    })
  }

  for (const authorization of ['Bearer', 'Bearer ', 'Basic YTpi', 'nonsense', 'Bearer a b']) {
    await t.test(`Authorization «${authorization}»: authorization is missing`, async () => {
      assert.deepEqual(outcome(await withBearer(authorization)), MISSING)
    })
  }

  await t.test('an empty access token is invalid', async () => {
    assert.deepEqual(
      outcome(await withCookies('accesstoken=; tokentype=bearer')),
      refusal(401, 'cookies', 'empty access token', { accesstoken: 'invalid' }),
    )
  })

  for (const type of ['Bearer', 'mac', '']) {
    await t.test(`the token type «${type}» is invalid`, async () => {
      assert.deepEqual(
        outcome(await withCookies(`accesstoken=${ann.accessToken}; tokentype=${type}`)),
        refusal(401, 'cookies', 'unknown token type', { tokentype: 'invalid' }),
      )
    })
  }

  for (const token of ['x', 'A'.repeat(60), `'; drop table session; --`]) {
    await t.test(`the unknown token ${token} is not active`, async () => {
      const cookie = `accesstoken=${encodeURIComponent(token)}; tokentype=bearer`
      assert.deepEqual(outcome(await withCookies(cookie)), INACTIVE)
    })
  }

  await t.test('an unknown bearer token is not active', async () => {
    assert.deepEqual(outcome(await withBearer(`Bearer ${'A'.repeat(60)}`)), INACTIVE)
  })

  await t.test('a session serves until its time is up, and no longer', async () => {
    const session = await signInAgain(server, ann)
    const day = 24 * 3600 * 1000
    server.clock.advance(day - 1)
    assert.equal((await call(server, 'GET', path, { as: session })).status, 200)
    server.clock.advance(1)
    assert.deepEqual(outcome(await call(server, 'GET', path, { as: session })), INACTIVE)
    server.clock.advance(-day)
  })

  await t.test('cookies and a bearer token at once are too much, whichever is valid', async () => {
    const cookies = `accesstoken=${ann.accessToken}; tokentype=bearer`
    for (const cookie of [cookies, 'accesstoken=x; tokentype=bearer', 'tokentype=bearer']) {
      const headers = { cookie, authorization: `Bearer ${ann.accessToken}` }
      assert.deepEqual(
        outcome(await call(server, 'GET', path, { headers })),
        refusal(401, 'not_defined', 'too much way of giving authorization'),
      )
    }
  })

  await t.test('a session token serves as a bearer token, without a CSRF token', async () => {
    const headers = { authorization: `Bearer ${ann.accessToken}` }
    assert.equal((await call(server, 'GET', path, { headers })).status, 200)
    const json = { title: 'By bearer', public_key: PUBLIC_KEY }
    assert.equal((await call(server, 'POST', '/boxes', { headers, json })).status, 201)
  })

  await t.test('the scheme Bearer is written in any case', async () => {
    for (const scheme of ['bearer', 'BEARER']) {
      assert.equal((await withBearer(`${scheme} ${ann.accessToken}`)).status, 200)
    }
  })

  await t.test('an API token of a person is no access token here', async () => {
    const { token } = await server.core.tokens.create(ann.id, 'laptop')
    assert.deepEqual(
      outcome(await withBearer(`Bearer ${token}`)),
      refusal(401, 'headers', 'token must be an access token', { Authorization: 'invalid' }),
    )
  })

  await t.test(
    'an application is refused on routes for people, before anything is looked at',
    async () => {
      const headers = { authorization: `Bearer ${applicationToken}` }
      const expected = refusal(401, 'cookies', 'unauthorized client')
      for (const [method, to] of [
        ['GET', `/identities/${application}`],
        ['GET', '/boxes/joined'],
        ['POST', '/boxes'],
        ['GET', '/boxes/malformed'],
        ['POST', '/auth/logout'],
      ] as const) {
        assert.deepEqual(outcome(await call(server, method, to, { headers })), expected, to)
      }
    },
  )

  await t.test(
    'an application may post events, upload and download, with the assurance of a password',
    async () => {
      const headers = { authorization: `Bearer ${applicationToken}` }
      const box = await createBox(server, ann)
      await server.core.boxes.setAccessMode(ann.id, box, 'public')
      const join = await call(server, 'POST', `/boxes/${box}/events`, {
        headers,
        json: { type: 'member.join' },
      })
      assert.equal(join.status, 201)
      assert.deepEqual((join.body as { sender: unknown }).sender, {
        id: application,
        display_name: 'Importer',
        avatar_url: null,
        identifier_value: application,
        identifier_kind: 'org_id',
      })
      const body = new FormData()
      body.append('encrypted_file', new Blob(['by machine']))
      body.append('msg_encrypted_content', 'AA')
      const uploaded = await call(server, 'POST', `/boxes/${box}/encrypted-files`, {
        headers,
        body,
      })
      assert.equal(uploaded.status, 201)
      const { content } = uploaded.body as { content: { encrypted_file_id: string } }
      const file = `/encrypted-files/${content.encrypted_file_id}`
      assert.equal(String((await call(server, 'GET', file, { headers })).bytes), 'by machine')
      const query = `?identifier_value=${encodeURIComponent(ann.email)}`
      assert.deepEqual(
        outcome(await call(server, 'GET', `/identities/pubkey${query}`, { headers })),
        { status: 200, body: [] },
      )
    },
  )

  await t.test('a revoked API token is not active', async () => {
    const other = await server.core.tokens.create(application, 'second')
    const pubkey = '/identities/pubkey?identifier_value=x'
    assert.equal((await withBearer(`Bearer ${other.token}`, pubkey)).status, 200)
    await server.core.tokens.revoke(other.id)
    assert.deepEqual(outcome(await withBearer(`Bearer ${other.token}`, pubkey)), INACTIVE)
  })

  await t.test('a session of too little assurance is told how much is needed', async () => {
    const weak = await signInAgain(server, ann, 1)
    const expected = refusal(403, 'acr', 'token acr is too weak', {
      acr: 'forbidden',
      required_acr: '2',
    })
    for (const [method, to] of [
      ['POST', '/boxes'],
      ['GET', '/boxes/joined'],
      ['DELETE', '/boxes/malformed'],
      ['GET', '/identities/pubkey'],
      ['POST', '/box-key-shares'],
      ['GET', '/box-key-shares/encrypted-invitation-key-share'],
    ] as const) {
      assert.deepEqual(outcome(await call(server, method, to, { as: weak })), expected, to)
    }
    const counted = await call(server, 'HEAD', '/boxes/joined', { as: weak })
    assert.deepEqual([counted.status, counted.bytes.length], [403, 0])
  })

  await t.test('more assurance than needed is welcome', async () => {
    const strong = await signInAgain(server, ann, 4)
    assert.equal((await call(server, 'GET', '/boxes/joined', { as: strong })).status, 200)
  })
})

test('checks come in order: route, verb, CSRF, token, assurance, fields, membership', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const weak = await signInAgain(server, ann, 1)
  const csrf = refusal(403, 'not_defined', 'invalid csrf token', { csrf_token: 'invalid' })
  const cookies = { cookie: weak.headers.cookie }
  const malformed = { headers: { 'content-type': 'application/json' }, body: '{' }
  const post = (path: string, options: object) => call(server, 'POST', path, options)

  // Nothing is right: the route is what is told.
  const nowhere = await post('/nowhere', malformed)
  assert.deepEqual(outcome(nowhere), refusal(404, 'not_defined', 'Not Found'))
  const wrongVerb = await call(server, 'PUT', '/boxes', malformed)
  assert.deepEqual(outcome(wrongVerb), refusal(405, 'not_defined', 'only POST'))
  // Neither CSRF token nor session: 403, not 401.
  assert.deepEqual(outcome(await post('/boxes', malformed)), csrf)
  assert.deepEqual(outcome(await post('/boxes', { headers: cookies })), csrf)
  // A CSRF token, no session.
  const anonymous = { headers: { cookie: '_csrf=abc', 'x-csrf-token': 'abc' }, body: '{' }
  assert.deepEqual(outcome(await post('/boxes', anonymous)), MISSING)
  // Too weak, and the body or the id is malformed besides.
  const weakly = await post('/boxes', { ...malformed, headers: { ...weak.headers } })
  assert.equal((weakly.body as { origin: string }).origin, 'acr')
  // A malformed id of a box, by somebody who is no member of any.
  const id = await call(server, 'GET', '/boxes/malformed', { as: ann })
  assert.deepEqual(
    outcome(id),
    refusal(400, 'not_defined', 'id: must be in a valid format.', { id: 'malformed' }),
  )
})
