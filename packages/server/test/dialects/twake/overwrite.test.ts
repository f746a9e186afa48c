import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { assertSameBytes, collect, pattern } from '../../helpers/bytes.ts'
import {
  bearer,
  chunkQuery,
  client,
  createCompany,
  filesPath,
  resourceOf,
} from '../../helpers/companies.ts'
import { eventually } from '../../helpers/http.ts'
import { startTestServer } from '../../helpers/server.ts'
import { storedFiles } from '../../helpers/stored.ts'

const MIB = 1024 * 1024

async function scene(t: Parameters<typeof startTestServer>[0]) {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const app = client(server, company, company.app)
  return { server, company, mia, app }
}

test('an application overwrites a file in one request: content, name, type, size and chunks', async (t) => {
  const { server, mia, app } = await scene(t)
  const { id } = resourceOf(await mia.init({ filename: 'old.txt', type: 'text/plain' }))
  for (const number of [1, 2]) await mia.send(id, pattern(10), chunkQuery(number, 2, 20))
  server.clock.advance(1000)
  const query = { filename: 'new.css', type: 'text/css', total_size: 99 }
  const answer = resourceOf(await app.send(id, pattern(70_000), query))
  assert.deepEqual(
    [answer.metadata, answer.upload_data, answer.updated_at],
    [
      { name: 'new.css', mime: 'text/css', thumbnails_status: 'done' },
      { size: 70_000, chunks: 1 },
      server.clock.now,
    ],
  )
  assertSameBytes((await mia.download(id)).bytes, pattern(70_000))
  assert.equal((await storedFiles(server)).length, 1)
})

test('an overwrite in chunks takes effect with the last of them, all at once', async (t) => {
  const { server, mia, app } = await scene(t)
  const old = pattern(30)
  const { id } = resourceOf(await mia.init({ filename: 'a' }))
  for (const number of [1, 2, 3]) {
    await mia.send(id, old.subarray((number - 1) * 10, number * 10), chunkQuery(number, 3, 30))
  }
  const next = Buffer.concat([old.subarray(0, 10), pattern(20, 7)])
  for (const number of [1, 3, 2]) {
    assertSameBytes((await mia.download(id)).bytes, old)
    const chunk = next.subarray((number - 1) * 10, number * 10)
    assert.equal((await app.send(id, chunk, chunkQuery(number, 3, 30))).status, 200)
  }
  assertSameBytes((await mia.download(id)).bytes, next)
  assert.equal((await storedFiles(server)).length, 3)
})

test('an application that repeats a chunk of its whole upload is told that all is well', async (t) => {
  const { server, mia, app } = await scene(t)
  const bytes = pattern(30)
  const { id } = resourceOf(await app.init())
  const send = (number: number, content = bytes) =>
    app.send(id, content.subarray((number - 1) * 10, number * 10), chunkQuery(number, 3, 30))
  for (const number of [1, 2, 3]) await send(number)
  assert.equal((await send(3)).status, 200)
  assertSameBytes((await mia.download(id)).bytes, bytes)

  // The repeated chunk is not taken for a part of what the application writes an hour later.
  server.clock.advance(3600 * 1000)
  const next = pattern(30, 5)
  for (const number of [1, 2]) await send(number, next)
  assertSameBytes((await mia.download(id)).bytes, bytes)
  await send(3, next)
  assertSameBytes((await mia.download(id)).bytes, next)
})

test('an overwrite with other totals, or by another application, begins anew', async (t) => {
  const { server, company, mia, app } = await scene(t)
  const { id } = resourceOf(await mia.upload(Buffer.from('old')))
  const other = client(server, company, company.otherApp)
  await app.send(id, Buffer.from('a'), chunkQuery(1, 2, 2))
  await other.send(id, Buffer.from('B'), chunkQuery(2, 2, 2))
  await other.send(id, Buffer.from('xyz'), chunkQuery(1, 2, 6))
  assert.equal((await mia.download(id)).bytes.toString(), 'old')
  await other.send(id, Buffer.from('uvw'), chunkQuery(2, 2, 6))
  assert.equal((await mia.download(id)).bytes.toString(), 'xyzuvw')
})

test('who reads while a file is overwritten gets the whole old or the whole new one', async (t) => {
  const { company, mia, app, server } = await scene(t)
  const versions = [1, 2, 3, 4].map((seed) => pattern(2 * MIB, seed))
  const [first = Buffer.of()] = versions
  const { id } = resourceOf(await mia.init())
  for (const number of [1, 2]) {
    const chunk = first.subarray((number - 1) * MIB, number * MIB)
    await mia.send(id, chunk, chunkQuery(number, 2, 2 * MIB))
  }
  const written = new AbortController()
  async function readOn(): Promise<number> {
    let reads = 0
    while (!written.signal.aborted) {
      const response = await fetch(server.address + filesPath(company, id, '/download'), {
        headers: bearer(company.member),
      })
      const bytes = await collect(slowly(response.body as AsyncIterable<Uint8Array>))
      assert.equal(response.status, 200)
      assert.ok(versions.some((version) => version.equals(bytes)))
      reads += 1
    }
    return reads
  }
  const readers = [readOn(), readOn(), readOn()]
  for (const version of [...versions.slice(1), ...versions]) {
    for (const number of [1, 2]) {
      const chunk = version.subarray((number - 1) * MIB, number * MIB)
      const query = { ...chunkQuery(number, 2, 2 * MIB), filename: 'x' }
      assert.equal((await app.send(id, chunk, query)).status, 200)
    }
  }
  written.abort()
  for (const reads of await Promise.all(readers)) assert.ok(reads > 0)
  await eventually(async () => (await storedFiles(server)).length === 2)
})

/** Reads as a slow client does, so that parts are opened long after the answer began. */
async function* slowly(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const bytes of source) {
    yield bytes
    await delay(1)
  }
}

test('a reader who began before an overwrite keeps its bytes until she is done', async (t) => {
  const { company, mia, app, server } = await scene(t)
  const old = pattern(30 * MIB)
  const { id } = resourceOf(await mia.init())
  for (const number of [1, 2, 3]) {
    const chunk = old.subarray((number - 1) * 10 * MIB, number * 10 * MIB)
    await mia.send(id, chunk, chunkQuery(number, 3, old.length))
  }
  const response = await fetch(server.address + filesPath(company, id, '/download'), {
    headers: bearer(company.member),
  })
  await app.send(id, pattern(100_000))
  assert.equal((await storedFiles(server)).length, 4)
  await server.core.sweep(0)
  assert.equal((await storedFiles(server)).length, 4)

  assertSameBytes(await collect(response.body as AsyncIterable<Uint8Array>), old)
  await eventually(async () => (await storedFiles(server)).length === 1)
})

test('after an hour nobody is waited for', async (t) => {
  const { company, mia, app, server } = await scene(t)
  const { id } = resourceOf(await mia.upload(pattern(30 * MIB)))
  const response = await fetch(server.address + filesPath(company, id, '/download'), {
    headers: bearer(company.member),
  })
  await app.send(id, pattern(100_000))
  server.clock.advance(3600 * 1000)
  await server.core.sweep(0)
  assert.equal((await storedFiles(server)).length, 1)
  await response.body?.cancel()
})
