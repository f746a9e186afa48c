import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, outcome } from '../../helpers/http.ts'
import { startTestServer } from '../../helpers/server.ts'

const NOT_FOUND = {
  status: 404,
  body: { type: 'about:blank', title: 'Not Found', status: 404 },
}

test('a server that listens is alive and ready', async (t) => {
  const server = await startTestServer(t)
  for (const path of ['/health/live', '/health/ready']) {
    assert.deepEqual(outcome(await call(server, 'GET', path)), {
      status: 200,
      body: { status: 'ok' },
    })
    assert.equal((await call(server, 'HEAD', path)).status, 200)
  }
})

test('without a token for them there are no metrics', async (t) => {
  const server = await startTestServer(t)
  for (const authorization of ['', 'Bearer ', 'Bearer undefined', 'Bearer x']) {
    const answer = await call(server, 'GET', '/metrics', { headers: { authorization } })
    assert.deepEqual(outcome(answer), NOT_FOUND)
  }
})

test('metrics are there for who has the token, and for nobody else', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_METRICS_TOKEN: 'scrape-me' })
  const get = (headers: Record<string, string>) => call(server, 'GET', '/metrics', { headers })
  for (const headers of [
    {},
    { authorization: 'scrape-me' },
    { authorization: 'Bearer scrape' },
    { authorization: 'Bearer scrape-me-not' },
    { authorization: 'Basic scrape-me' },
    { cookie: 'accesstoken=scrape-me; tokentype=bearer' },
  ] as Record<string, string>[]) {
    assert.deepEqual(outcome(await get(headers)), NOT_FOUND)
  }
  const answer = await get({ authorization: 'Bearer scrape-me' })
  assert.equal(answer.status, 200)
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  assert.match(String(answer.bytes), /^# TYPE holdfast_integrity_failures_total counter$/m)
})
