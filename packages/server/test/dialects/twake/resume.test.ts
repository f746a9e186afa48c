import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pattern } from '../../helpers/bytes.ts'
import { chunkQuery, client, createCompany, resourceOf } from '../../helpers/companies.ts'
import { startTestServer } from '../../helpers/server.ts'

/** What Resumable.js asks before it sends a chunk. */
function resumable(number: number, size: number, total = 30) {
  return {
    resumableChunkNumber: number,
    resumableChunkSize: 10,
    resumableCurrentChunkSize: size,
    resumableTotalSize: total,
    resumableTotalChunks: 3,
    resumableFilename: 'a.bin',
  }
}

test('a client that asks whether a chunk is here is told 200 or 204', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const { id } = resourceOf(await mia.init({ total_size: 30 }))
  assert.equal((await mia.get(id, resumable(2, 10))).status, 204)
  await mia.send(id, pattern(10), chunkQuery(2, 3, 30))

  assert.equal((await mia.get(id, resumable(2, 10))).status, 200)
  assert.equal((await mia.get(id, { chunk_number: 2 })).status, 200)
  assert.equal((await mia.get(id, resumable(1, 10))).status, 204, 'has not come')
  assert.equal((await mia.get(id, resumable(2, 9))).status, 204, 'has another length')
  assert.equal((await mia.get(id, resumable(2, 10, 31))).status, 204, 'is of another file')
  assert.equal((await mia.get(id, { chunk_number: 'undefined' })).status, 200, 'no question')

  await mia.send(id, pattern(10), chunkQuery(1, 3, 30))
  await mia.send(id, pattern(10), chunkQuery(3, 3, 30))
  for (const number of [1, 2, 3]) {
    assert.equal((await mia.get(id, resumable(number, 10))).status, 200)
  }
  assert.equal((await mia.get(id, { chunk_number: 4 })).status, 204)
})

test('to an application no chunk of a whole file is here: what it sends overwrites', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const { id } = resourceOf(await client(server, company, company.member).upload(pattern(30)))
  const app = client(server, company, company.app)
  assert.equal((await app.get(id, { chunk_number: 1 })).status, 204)
  await app.send(id, pattern(10, 2), chunkQuery(1, 3, 30))
  assert.equal((await app.get(id, resumable(1, 10))).status, 200)
  assert.equal((await app.get(id, resumable(2, 10))).status, 204)
  const other = client(server, company, company.otherApp)
  assert.equal((await other.get(id, resumable(1, 10))).status, 204)
})

test('the state of an upload: which chunks are here, and until when', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const { id } = resourceOf(await mia.init({ total_size: 30 }))
  server.clock.advance(1000)
  for (const number of [3, 1]) await mia.send(id, pattern(10), chunkQuery(number, 3, 30))
  const state = { company_id: company.id, id, total_chunks: 3, total_size: 30 }
  const chunk = (chunk_number: number) => ({ chunk_number, size: 10 })
  assert.deepEqual((await mia.state(id)).body, {
    resource: {
      ...state,
      complete: false,
      expires_at: server.clock.now + 7 * 24 * 3600 * 1000,
      chunks: [chunk(1), chunk(3)],
    },
  })
  await mia.send(id, pattern(10), chunkQuery(2, 3, 30))
  assert.deepEqual((await mia.state(id)).body, {
    resource: {
      ...state,
      complete: true,
      expires_at: null,
      chunks: [chunk(1), chunk(2), chunk(3)],
    },
  })
})

test('an upload goes on after the server was stopped in between', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const bytes = pattern(30)
  const before = client(server, company, company.member)
  const { id } = resourceOf(await before.init())
  await before.send(id, bytes.subarray(20), chunkQuery(3, 3, 30))
  const again = await server.restart()
  const after = client(again, company, company.member)
  await after.send(id, bytes.subarray(0, 10), chunkQuery(1, 3, 30))
  await after.send(id, bytes.subarray(10, 20), chunkQuery(2, 3, 30))
  assert.deepEqual((await after.download(id)).bytes, bytes)
})
