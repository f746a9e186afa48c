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
): Promise<Link> {
  const path = filesPath(company, fileId, `${rest}/url`)
  const answer = await call(server, 'GET', path, { headers: bearer(company.member) })
  assert.equal(answer.status, 200)
  return (answer.body as { resource: Link }).resource
}

async function scene(t: Parameters<typeof startTestServer>[0]) {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const { id } = resourceOf(await mia.upload(Buffer.from('content'), { filename: 'a.txt' }))
  return { server, company, mia, id }
}

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
