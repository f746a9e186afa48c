/** A server behind nginx, as `deploy/nginx.conf` has it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir, stat } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { assertSameBytes, pattern } from '../packages/server/test/helpers/bytes.ts'
import { address, type CompanyPlace, downloaded, startCompanyPlace } from './company-place.ts'
import { type Nginx, startNginx } from './nginx.ts'
import { eventually } from './processes.ts'
import { slowForm } from './slow-form.ts'
import { hasTool } from './tools.ts'

const MB = 1024 * 1024
/** Nginx holds a few buffers of this; what it cannot hold has to have passed. */
const HELD_ON_THE_WAY = 2 * MB
const PASSED_WITHIN_MS = 20_000
/** In which an nginx that buffers takes more than it holds in memory, while its client reads nothing. */
const LONG_ENOUGH_TO_SPILL_MS = 500

interface Proxied extends CompanyPlace {
  readonly nginx: Nginx
}

/** A server whose clients come through nginx. */
async function startBehindNginx(t: TestContext, settings = {}): Promise<Proxied> {
  const place = await startCompanyPlace(t, { HOLDFAST_TRUSTED_PROXIES: '127.0.0.1', ...settings })
  const nginx = await startNginx(t, [place.server.address])
  return { ...place, nginx, server: { ...place.server, address: nginx.address } }
}

test('bytes pass nginx both ways as they come, and lie on no disk in between', async (t) => {
  if (!hasTool(t, 'nginx')) return
  const place = await startBehindNginx(t)
  const content = pattern(64 * MB)
  const slow = slowForm(content, place.headers)
  const sent = fetch(address(place), slow.request)
  await slow.half
  await eventually('half of it reached the server', PASSED_WITHIN_MS, async () => {
    const sizes = await sizesIn(join(place.data, 'tmp'))
    return sizes.some((size) => size > content.length / 2 - HELD_ON_THE_WAY) || undefined
  })
  assert.deepEqual(await place.nginx.bodiesOnDisk(), [])
  slow.goOn()
  const answer = await sent
  assert.equal(answer.status, 200)
  const { resource } = (await answer.json()) as { resource: { id: string } }

  const reading = await fetch(address(place, resource.id, '/download'), { headers: place.headers })
  const reader = reading.body?.getReader() ?? assert.fail()
  await reader.read()
  await delay(LONG_ENOUGH_TO_SPILL_MS)
  assert.deepEqual(await place.nginx.bodiesOnDisk(), [])
  await reader.cancel()
  assertSameBytes(await downloaded(place, resource.id), content)

  const range = { range: `bytes=${50 * MB}-${50 * MB + 99}`, 'if-range': etagOf(reading) }
  const part = await fetch(address(place, resource.id, '/download'), {
    headers: { ...place.headers, ...range },
  })
  assert.equal(part.status, 206)
  assert.equal(
    part.headers.get('content-range'),
    `bytes ${50 * MB}-${50 * MB + 99}/${content.length}`,
  )
  const bytes = Buffer.from(await part.arrayBuffer())
  assertSameBytes(bytes, content.subarray(50 * MB, 50 * MB + 100))
})

test('an address, which may carry a key, is in no log of nginx, also when no server answers', async (t) => {
  if (!hasTool(t, 'nginx')) return
  const { server, nginx } = await startBehindNginx(t)
  await server.stop()
  const { status } = await fetch(`${nginx.address}/api/downloads/one/opensesame`)
  assert.equal(status, 502)
  await eventually('the request is logged', PASSED_WITHIN_MS, async () => {
    return (await nginx.logged()).includes('GET 502') || undefined
  })
  assert.doesNotMatch(await nginx.logged(), /opensesame/)
})

test('what nginx says of a client counts, and what the client says does not', async (t) => {
  if (!hasTool(t, 'nginx')) return
  const place = await startBehindNginx(t)
  const left = async (localAddress: string, forwarded: string) => {
    const { headers } = await get(`${place.nginx.address}/api/files`, {
      localAddress,
      headers: { 'x-forwarded-for': forwarded },
    })
    return headers['x-ratelimit-remaining']
  }
  assert.equal(await left('127.0.0.2', '192.0.2.1'), '299')
  assert.equal(await left('127.0.0.2', '192.0.2.2'), '298')
  assert.equal(await left('127.0.0.3', '192.0.2.2'), '299')

  const headers = { 'x-forwarded-host': 'evil.example.com', 'x-forwarded-proto': 'https' }
  const answer = await fetch(address(place), { ...smallForm(place), method: 'POST' })
  const { resource } = (await answer.json()) as { resource: { id: string } }
  const linked = await fetch(address(place, resource.id, '/download/url'), {
    headers: { ...place.headers, ...headers },
  })
  const link = ((await linked.json()) as { resource: { full_url: string } }).resource.full_url
  assert.ok(link.startsWith(`${place.nginx.address}/`), link)
  assert.equal((await fetch(link)).status, 200)
})

function smallForm(place: Proxied): RequestInit {
  const body = new FormData()
  body.append('file', new Blob(['content']), 'a.txt')
  return { headers: place.headers, body }
}

function etagOf(answer: Response): string {
  return answer.headers.get('etag') ?? assert.fail()
}

async function sizesIn(folder: string): Promise<number[]> {
  const names = await readdir(folder).catch(() => [])
  return Promise.all(names.map(async (name) => (await stat(join(folder, name))).size))
}

async function get(
  url: string,
  options: { localAddress: string; headers: Record<string, string> },
): Promise<IncomingMessage> {
  const sent = request(url, options).end()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  answer.resume()
  return answer
}
