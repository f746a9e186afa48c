import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { api, createOwner, message } from '../../helpers/account.ts'
import { type Answer, call, outcome, pick } from '../../helpers/http.ts'
import { startTestServer, type TestServer } from '../../helpers/server.ts'

const HEADERS = ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'retry-after']
const limits = ({ headers }: Answer) => Object.values(pick(headers, ...HEADERS))

test('the 301st request of a minute is refused, and the window begins with the first', async (t) => {
  const server = await startTestServer(t)
  const who = await createOwner(server)
  const start = Date.now()
  mock.timers.enable({ apis: ['Date'], now: start })
  t.after(() => mock.timers.reset())
  for (let left = 299; left >= 0; left -= 1) {
    const answer = await api(server, who, 'GET', '/user')
    assert.equal(answer.status, 200)
    assert.deepEqual(limits(answer), ['300', String(left), null, null])
    // Requests that come later do not make the window longer.
    if (left === 150) mock.timers.setTime(start + 30_000)
  }
  mock.timers.setTime(start + 45_500)
  const refused = await api(server, who, 'GET', '/user')
  assert.deepEqual(outcome(refused), message(429, 'Too Many Attempts.'))
  const reset = String(Math.ceil((start + 60_000) / 1000))
  assert.deepEqual(limits(refused), ['300', '0', reset, '15'])
  mock.timers.setTime(start + 59_999)
  assert.equal((await api(server, who, 'GET', '/user')).status, 429)
  mock.timers.setTime(start + 60_000)
  assert.deepEqual(limits(await api(server, who, 'GET', '/user')), ['300', '299', null, null])
})

test('what is refused counts too, and carries the headers', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_API_RATE_LIMIT: '7' })
  const who = await createOwner(server)
  const requests: [number, () => Promise<Answer>][] = [
    [401, () => call(server, 'GET', '/api/files')],
    [404, () => call(server, 'GET', '/api/bogus')],
    [404, () => api(server, who, 'GET', '/files/x')],
    [405, () => call(server, 'PUT', '/api/files')],
    [422, () => api(server, who, 'POST', '/files')],
    [404, () => call(server, 'GET', '/download/x/y')],
    [200, () => api(server, who, 'HEAD', '/user')],
  ]
  for (const [index, [status, request]] of requests.entries()) {
    const answer = await request()
    assert.equal(answer.status, status)
    assert.deepEqual(limits(answer), ['7', String(6 - index), null, null])
  }
  for (const [, request] of requests.slice(0, -1)) {
    const answer = await request()
    assert.deepEqual(outcome(answer), message(429, 'Too Many Attempts.'))
    assert.ok(Number(answer.headers.get('retry-after')) <= 60)
  }
  // Other dialects and operators are not counted.
  assert.equal((await call(server, 'GET', '/health/live')).status, 200)
  assert.equal((await call(server, 'GET', '/v1/me')).status, 401)
  assert.equal((await call(server, 'GET', '/version')).status, 200)
})

/** What is left for an address that a proxy names. */
async function left(server: TestServer, forwarded: string): Promise<string | null> {
  const headers = { 'x-forwarded-for': forwarded }
  const answer = await call(server, 'GET', '/api/files', { headers })
  return answer.headers.get('x-ratelimit-remaining')
}

test('without a trusted proxy nobody is believed about addresses', async (t) => {
  const server = await startTestServer(t)
  assert.equal(await left(server, '192.0.2.1'), '299')
  assert.equal(await left(server, '192.0.2.2'), '298')
})

test('a trusted proxy is believed, what its clients claim is not', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_TRUSTED_PROXIES: '127.0.0.1' })
  assert.equal(await left(server, '192.0.2.1'), '299')
  assert.equal(await left(server, '192.0.2.1'), '298')
  assert.equal(await left(server, '192.0.2.2'), '299')
  assert.equal(await left(server, '203.0.113.9, 192.0.2.1'), '297')
  assert.equal(await left(server, '2001:db8::1'), '299')
})

test('a proxy that is not the trusted one is a client', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_TRUSTED_PROXIES: '10.0.0.0/8, 198.51.100.1' })
  assert.equal(await left(server, '192.0.2.1'), '299')
  assert.equal(await left(server, '192.0.2.2'), '298')
})

test('the limit can be switched off, and with it its headers', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_API_RATE_LIMIT: '0' })
  const who = await createOwner(server)
  for (let count = 0; count < 310; count += 1) {
    const answer = await api(server, who, 'GET', '/user')
    assert.equal(answer.status, 200)
    assert.deepEqual(limits(answer), [null, null, null, null])
  }
})
