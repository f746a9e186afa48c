import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import {
  call,
  encodeForm,
  eventually,
  formType,
  head,
  outcome,
  pick,
  RawConnection,
  refusal,
} from '../helpers/http.ts'
import {
  createBox,
  PUBLIC_KEY,
  signIn,
  signInAgain,
  startTestServer,
  upload,
} from '../helpers/server.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const NOT_FOUND = refusal(404, 'not_defined', 'Not Found')

function problem(status: number, title: string) {
  return { status, body: { type: 'about:blank', title, status } }
}

test('paths that belong to nobody are answered in the shape of the Misakey dialect', async (t) => {
  const server = await startTestServer(t)
  for (const path of ['/', '/nowhere', '/v1x', '/healthy', '/V1', '//', '/%zz', '/%ff']) {
    for (const method of ['GET', 'POST', 'DELETE']) {
      const answer = await call(server, method, path)
      assert.deepEqual(outcome(answer), NOT_FOUND, `${method} ${path}`)
      assert.equal(answer.headers.get('content-type'), 'application/json; charset=UTF-8')
      assert.equal(answer.headers.get('x-content-type-options'), 'nosniff')
    }
    const looked = await call(server, 'HEAD', path)
    assert.deepEqual([looked.status, looked.bytes.length], [404, 0])
  }
})

test('paths of our own that nobody has are problem details', async (t) => {
  const server = await startTestServer(t)
  for (const path of [
    '/v1',
    '/v1/',
    '/v1/x/y',
    '/health',
    '/health/x',
    '/openapi/x.json',
    '/v1/%zz',
  ]) {
    for (const method of ['GET', 'POST']) {
      const answer = await call(server, method, path)
      assert.deepEqual(outcome(answer), problem(404, 'Not Found'), `${method} ${path}`)
      assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/)
      assert.equal(answer.headers.get('x-content-type-options'), 'nosniff')
    }
  }
})

test('whatever is sent to a path that is not there, it is not there', async (t) => {
  const server = await startTestServer(t)
  for (const type of ['application/json', 'application/xml', 'multipart/form-data; boundary=x']) {
    const headers = { 'content-type': type }
    const answer = await call(server, 'POST', '/nowhere', { headers, body: '{' })
    assert.deepEqual(outcome(answer), NOT_FOUND)
  }
})

test('a verb that a path does not have is answered with those it has', async (t) => {
  const server = await startTestServer(t)
  for (const [method, path, allow] of [
    ['PUT', '/boxes', 'POST'],
    ['DELETE', '/csrf', 'GET, HEAD'],
    ['POST', '/boxes/joined', 'GET, HEAD'],
    ['PATCH', '/boxes/x', 'DELETE, GET, HEAD'],
    ['POST', '/identities/x', 'GET, HEAD, PATCH'],
    ['PUT', '/boxes/x/events', 'GET, HEAD, POST'],
    ['GET', '/boxes/x/encrypted-files', 'POST'],
    ['DELETE', '/encrypted-files/x', 'GET, HEAD'],
    ['GET', '/auth/logout', 'POST'],
  ] as const) {
    const answer = await call(server, method, path)
    assert.deepEqual(outcome(answer), refusal(405, 'not_defined', `only ${allow}`), path)
    assert.equal(answer.headers.get('allow'), allow)
  }
  const looked = await call(server, 'HEAD', '/boxes')
  assert.deepEqual(
    [looked.status, looked.headers.get('allow'), looked.bytes.length],
    [405, 'POST', 0],
  )
})

test('real clients say JSON on everything, with nothing in it', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const box = await createBox(server, ann)
  const { fileId } = await upload(server, ann, box, randomBytes(10))
  const headers = { 'content-type': 'application/json' }
  for (const [method, path, status] of [
    ['GET', '/csrf', 200],
    ['GET', '/boxes/joined', 200],
    ['HEAD', `/boxes/${box}/events`, 204],
    ['GET', `/encrypted-files/${fileId}`, 200],
    ['HEAD', `/encrypted-files/${fileId}`, 200],
    ['PATCH', `/identities/${ann.id}`, 204],
    ['POST', '/auth/logout', 204],
  ] as const) {
    const answer = await call(server, method, path, { as: ann, headers })
    assert.equal(answer.status, status, `${method} ${path}`)
  }
})

test('a body of a type that nobody reads is refused', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  for (const type of ['application/xml', 'application/x-www-form-urlencoded', 'nonsense']) {
    const headers = { 'content-type': type }
    const answer = await call(server, 'POST', '/boxes', { as: ann, headers, body: 'a=b' })
    assert.deepEqual(
      outcome(answer),
      refusal(415, 'headers', 'Unsupported Media Type', { 'Content-Type': 'not_supported' }),
      type,
    )
  }
})

test('JSON of more than 2 MiB is refused, whether it tells its length or not', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const box = await createBox(server, ann)
  const json = (length: number) => ({
    type: 'msg.text',
    content: { encrypted: 'A'.repeat(length), public_key: PUBLIC_KEY },
  })
  const path = `/boxes/${box}/events`
  const fitting = await call(server, 'POST', path, { as: ann, json: json(2_000_000) })
  assert.equal(fitting.status, 201)
  const large = await call(server, 'POST', path, { as: ann, json: json(3_000_000) })
  assert.deepEqual(
    [large.status, (large.body as { code: string }).code],
    [413, 'request_entity_too_large'],
  )
  const text = JSON.stringify(json(3_000_000))
  const connection = new RawConnection(server)
  const headers = {
    ...ann.headers,
    'content-type': 'application/json',
    'transfer-encoding': 'chunked',
  }
  await connection.send(
    head('POST', path, headers),
    `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`,
  )
  assert.equal((await connection.answer()).status, 413)
  connection.socket.destroy()
})

test('a JSON body that stops half way changes nothing, and the server goes on', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const connection = new RawConnection(server)
  const headers = { ...ann.headers, 'content-type': 'application/json', 'content-length': 1000 }
  await connection.send(head('POST', '/boxes', headers), '{"title":"A",')
  connection.socket.destroy()
  await connection.closed
  const answer = await call(server, 'HEAD', '/boxes/joined', { as: ann })
  assert.equal(answer.headers.get('x-total-count'), '0')
})

test('what is no HTTP is told so, and the connection closes', async (t) => {
  const server = await startTestServer(t)
  for (const [sent, status, title] of [
    ['nonsense\r\n\r\n', 400, 'Bad Request'],
    ['GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n', 400, 'Bad Request'],
    [`GET /${'a'.repeat(20_000)} HTTP/1.1\r\n`, 431, 'Request Header Fields Too Large'],
    [head('GET', '/', { 'x-long': 'a'.repeat(20_000) }), 431, 'Request Header Fields Too Large'],
  ] as const) {
    const connection = new RawConnection(server)
    await connection.send(sent)
    const answer = await connection.answer()
    assert.deepEqual(outcome(answer), problem(status, title))
    assert.equal(answer.headers.get('content-type'), 'application/problem+json')
    await connection.closed
  }
  assert.equal((await call(server, 'GET', '/health/live')).status, 200)
})

test('a long address that still fits is answered in the shape of its dialect', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const path = `/boxes/joined?limit=1&x=${'a'.repeat(8000)}`
  assert.equal((await call(server, 'GET', path, { as: ann })).status, 200)
  assert.deepEqual(
    outcome(await call(server, 'GET', `/boxes/${'a'.repeat(8000)}`, { as: ann })),
    refusal(400, 'not_defined', 'id: must be in a valid format.', { id: 'malformed' }),
  )
})

test('the id of a request is what the client gives, if it is plain, and is told twice', async (t) => {
  const server = await startTestServer(t)
  const idOf = async (headers: Record<string, string>, path = '/csrf') => {
    const answer = await call(server, 'GET', path, { headers })
    const id = answer.headers.get('x-request-id')
    assert.equal(answer.headers.get('x-fapi-interaction-id'), id)
    return id ?? ''
  }
  for (const plain of ['abc', 'a.b-c_1', 'x'.repeat(64), randomUUID()]) {
    assert.equal(await idOf({ 'x-request-id': plain }), plain)
    assert.equal(await idOf({ 'x-request-id': plain }, '/nowhere'), plain)
  }
  for (const odd of ['', 'x'.repeat(65), 'a b', '<script>', 'é', 'a,b']) {
    assert.match(await idOf({ 'x-request-id': odd }), UUID, odd)
  }
  assert.notEqual(await idOf({}), await idOf({}))
})

test('every answer of the dialect keeps caches and referrers out', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const expected = {
    'cache-control': 'no-store, no-cache',
    'referrer-policy': 'origin',
    vary: 'Cookie, Origin',
    'x-content-type-options': 'nosniff',
    'access-control-allow-origin': null,
  }
  for (const path of ['/csrf', '/boxes/joined', '/boxes/x', '/nowhere']) {
    const { headers } = await call(server, 'GET', path, { as: ann })
    assert.deepEqual(pick(headers, ...Object.keys(expected)), expected, path)
  }
})

test('only origins that are allowed may call with credentials', async (t) => {
  const server = await startTestServer(t, {
    HOLDFAST_ALLOWED_ORIGINS: 'https://app.example.com, https://other.example.com',
  })
  const ann = await signIn(server, 'Ann Example')
  const names = ['access-control-allow-origin', 'access-control-allow-credentials']
  for (const origin of ['https://app.example.com', 'https://other.example.com']) {
    const answer = await call(server, 'GET', '/boxes/joined', { as: ann, headers: { origin } })
    assert.deepEqual(pick(answer.headers, ...names, 'access-control-expose-headers'), {
      'access-control-allow-origin': origin,
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': 'X-Total-Count, Content-Range, ETag',
    })
    assert.match(answer.headers.get('vary') ?? '', /\bOrigin\b/)
    const asked = await call(server, 'OPTIONS', '/boxes', {
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'x-csrf-token, content-type',
      },
    })
    assert.equal(asked.status, 204)
    assert.equal(asked.headers.get('access-control-allow-origin'), origin)
    assert.match(asked.headers.get('access-control-allow-headers') ?? '', /X-CSRF-Token/)
    assert.match(asked.headers.get('access-control-allow-methods') ?? '', /PATCH/)
  }
  for (const origin of ['https://evil.example.com', 'https://app.example.com.evil.com', 'null']) {
    const answer = await call(server, 'GET', '/boxes/joined', { as: ann, headers: { origin } })
    assert.equal(answer.headers.get('access-control-allow-origin'), null, origin)
  }
})

test('logs tell routes, and neither addresses nor secrets', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const weak = await signInAgain(server, ann, 1)
  const box = await createBox(server, ann)
  const { fileId } = await upload(server, ann, box, randomBytes(10))
  const secret = 'a-secret-share-hash'
  for (const [as, path] of [
    [ann, `/encrypted-files/${fileId}`],
    [weak, '/boxes/joined'],
    [ann, `/boxes/${box}/public?other_share_hash=${secret}`],
    [ann, `/box-key-shares/${secret}`],
    [ann, `/nowhere/${secret}`],
    [ann, `/boxes/%zz${secret}`],
    [ann, `/boxes/${secret.repeat(20)}`],
  ] as const) {
    await call(server, 'GET', path, { as })
  }
  const form = encodeForm([{ name: 'encrypted_file', filename: secret, content: secret }])
  await call(server, 'POST', `/boxes/${box}/encrypted-files`, {
    as: ann,
    headers: formType(),
    body: form as Uint8Array<ArrayBuffer>,
  })
  const json = { title: secret }
  await call(server, 'POST', '/boxes', { as: ann, json })
  const connection = new RawConnection(server)
  await connection.send(`GET /${secret} HTTP/1.1\r\nbroken ${secret}\r\n\r\n`)
  await connection.closed

  const answered = () => server.logged.filter(({ msg }) => msg === 'answered')
  await eventually(() => answered().length >= 10)
  assert.ok(answered().some(({ route }) => route === '/encrypted-files/:id'))
  const text = JSON.stringify(server.logged)
  for (const word of [
    ann.accessToken,
    ann.csrfToken,
    weak.accessToken,
    fileId,
    box,
    ann.id,
    secret,
  ]) {
    assert.ok(!text.includes(word), word)
  }
  for (const entry of answered()) {
    assert.deepEqual(
      Object.keys(entry).filter((key) => !['route'].includes(key)),
      ['level', 'time', 'pid', 'hostname', 'reqId', 'method', 'status', 'ms', 'msg'],
    )
  }
})

test('a server that stops lets a download end whole, and does not wait for its connection', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bytes = randomBytes(4_000_000)
  const { fileId } = await upload(server, ann, await createBox(server, ann), bytes)
  const response = await fetch(`${server.address}/encrypted-files/${fileId}`, {
    headers: ann.headers,
  })
  const stopping = performance.now()
  const closed = server.close()
  assert.ok(Buffer.from(await response.arrayBuffer()).equals(bytes))
  await closed
  // An idle connection would be kept for more than a minute.
  assert.ok(performance.now() - stopping < 5000)
})
