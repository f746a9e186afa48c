import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  bearer,
  client,
  createCompany,
  filesPath,
  refusal,
  resourceOf,
  type TestCompany,
} from '../../helpers/companies.ts'
import { call, outcome } from '../../helpers/http.ts'
import { startTestServer, type TestServer } from '../../helpers/server.ts'

const REFUSED = refusal(401, 'Unauthorized', 'Bad credentials')

interface Link {
  url: string
  full_url: string
  expires_at: number
}

async function linkOf(
  server: TestServer,
  company: TestCompany,
  fileId: string,
  rest = '/download',
  headers: Record<string, string> = {},
): Promise<Link> {
  const path = filesPath(company, fileId, `${rest}/url`)
  const answer = await call(server, 'GET', path, {
    headers: { ...bearer(company.member), ...headers },
  })
  assert.equal(answer.status, 200)
  return (answer.body as { resource: Link }).resource
}

async function scene(t: Parameters<typeof startTestServer>[0], environment = {}) {
  const server = await startTestServer(t, environment)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const { id } = resourceOf(await mia.upload(Buffer.from('content'), { filename: 'a.txt' }))
  return { server, company, mia, id }
}

test('a link has the address that a trusted proxy says its client came to', async (t) => {
  const { server, company, id } = await scene(t, { HOLDFAST_TRUSTED_PROXIES: '127.0.0.1' })
  const linkFor = async (host: string) => {
    const headers = { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'https' }
    const { full_url, url } = await linkOf(server, company, id, '/download', {
      ...headers,
      'x-forwarded-host': host,
    })
    return full_url.slice(0, -url.length)
  }
  assert.equal(await linkFor('files.example.com'), 'https://files.example.com')
  assert.equal(await linkFor('[2001:db8::1]:8443'), 'https://[2001:db8::1]:8443')
  for (const odd of ['ann@example.com', 'example.com/x', 'a b', '-']) {
    assert.equal(await linkFor(odd), server.config.publicUrl)
  }
})

test('a link downloads without a token, for a quarter of an hour', async (t) => {
  const { server, company, id } = await scene(t)
  const { url, full_url, expires_at } = await linkOf(server, company, id)
  assert.equal(full_url, `${server.config.publicUrl}${url}`)
  assert.equal(expires_at, server.clock.now + 15 * 60 * 1000)
  for (const method of ['GET', 'HEAD']) {
    const answer = await call(server, method, url)
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.get('cross-origin-resource-policy'), 'cross-origin')
  }
  const part = await call(server, 'GET', url, { headers: { range: 'bytes=0-2' } })
  assert.equal(part.bytes.toString(), 'con')

  server.clock.advance(15 * 60 * 1000 - 1)
  assert.equal((await call(server, 'GET', url)).status, 200)
  server.clock.advance(1)
  assert.deepEqual(outcome(await call(server, 'GET', url)), REFUSED)
})

test('a link is good for what it was made for and nothing else', async (t) => {
  const { server, company, mia, id } = await scene(t)
  const { id: other } = resourceOf(await mia.upload(Buffer.from('other')))
  const { url } = await linkOf(server, company, id)
  const [path = '', query = ''] = url.split('?')
  const seal = new URLSearchParams(query)
  const changed = (name: string, value: string) => {
    const copy = new URLSearchParams(seal)
    copy.set(name, value)
    return `${path}?${copy}`
  }
  const without = (name: string) => {
    const copy = new URLSearchParams(seal)
    copy.delete(name)
    return `${path}?${copy}`
  }
  const forged = [
    `${filesPath(company, other, '/download')}?${query}`,
    `${filesPath(company, id, '/thumbnails/0')}?${query}`,
    `${filesPath(company, id)}?${query}`,
    `${filesPath(company, id, '/upload')}?${query}`,
    `${filesPath(company, id, '/download/url')}?${query}`,
    changed('expires', String(Number(seal.get('expires')) + 1)),
    changed('expires', 'NaN'),
    changed('as', company.owner.id),
    changed('signature', ''),
    changed('signature', `${seal.get('signature')}x`),
    `${url}&signature=x`,
    ...['as', 'expires', 'signature'].map(without),
  ]
  for (const address of forged) {
    assert.deepEqual(outcome(await call(server, 'GET', address)), REFUSED, address)
  }
  for (const method of ['POST', 'DELETE']) {
    const answer = await call(server, method, `${filesPath(company, id)}?${query}`)
    assert.deepEqual(outcome(answer), REFUSED)
  }
})

test('a thumbnail can be linked to as well', async (t) => {
  const { server, company, id } = await scene(t)
  const { url } = await linkOf(server, company, id, '/thumbnails/0')
  assert.deepEqual(
    outcome(await call(server, 'GET', url)),
    refusal(404, 'Not Found', 'Thumbnail not found'),
  )
})

test('strangers get no links', async (t) => {
  const { server, company, id } = await scene(t)
  const path = filesPath(company, id, '/download/url')
  const answer = await call(server, 'GET', path, { headers: bearer(company.stranger) })
  assert.equal(answer.status, 404)
})

test('links and names are not logged', async (t) => {
  const { server, company, id } = await scene(t)
  const { url } = await linkOf(server, company, id)
  await call(server, 'GET', url)
  const log = JSON.stringify(server.logged)
  assert.ok(!log.includes('signature'))
  assert.ok(!log.includes(id))
})
