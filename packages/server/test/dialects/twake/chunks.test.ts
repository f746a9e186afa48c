import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertSameBytes, pattern } from '../../helpers/bytes.ts'
import {
  bearer,
  type Client,
  chunkQuery,
  client,
  createCompany,
  filesPath,
  refusal,
  resourceOf,
  type TestCompany,
} from '../../helpers/companies.ts'
import {
  encodeForm,
  eventually,
  formType,
  head,
  outcome,
  RawConnection,
} from '../../helpers/http.ts'
import { startTestServer, type TestServer } from '../../helpers/server.ts'
import { storedFiles } from '../../helpers/stored.ts'

const NO_OVERWRITE = refusal(403, 'Forbidden', 'Only applications overwrite a complete file')

interface Scene {
  readonly server: TestServer
  readonly company: TestCompany
  readonly mia: Client
}

async function scene(t: Parameters<typeof startTestServer>[0]): Promise<Scene> {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  return { server, company, mia: client(server, company, company.member) }
}

/** A whole file of three chunks of 100, 100 and 150 bytes. */
async function threeChunks({ mia }: Scene) {
  const bytes = pattern(350)
  const chunks = [bytes.subarray(0, 100), bytes.subarray(100, 200), bytes.subarray(200)]
  const { id } = resourceOf(await mia.init({ filename: 'three', total_size: bytes.length }))
  for (const [index, chunk] of chunks.entries()) {
    assert.equal((await mia.send(id, chunk, chunkQuery(index + 1, 3, 350))).status, 200)
  }
  return { id, bytes, chunks: chunks as [Buffer, Buffer, Buffer] }
}

test('chunks that arrive in any order and at the same time make the file', async (t) => {
  const { mia } = await scene(t)
  const bytes = pattern(500_000)
  const { id } = resourceOf(await mia.init({ filename: 'a.bin', total_size: bytes.length }))
  const sent = [3, 1, 5, 2, 4].map((number) =>
    mia.send(
      id,
      bytes.subarray((number - 1) * 100_000, number * 100_000),
      chunkQuery(number, 5, bytes.length),
    ),
  )
  for (const answer of await Promise.all(sent)) assert.equal(answer.status, 200)
  assertSameBytes((await mia.download(id)).bytes, bytes)
  assert.deepEqual(resourceOf(await mia.get(id)).upload_data, { size: 500_000, chunks: 5 })
})

test('every chunk is one age file, however small, and stays where it arrived', async (t) => {
  const place = await scene(t)
  await threeChunks(place)
  const files = await storedFiles(place.server)
  const numbers = files.map((name) => Number(/\.(\d)\.[0-9a-f]{16}$/.exec(name)?.[1]))
  assert.deepEqual(new Set(numbers), new Set([1, 2, 3]))
  assert.equal(files.length, 3)
})

test('until the file is whole the last copy of a chunk counts, and the others go', async (t) => {
  const { mia, server } = await scene(t)
  const { id } = resourceOf(await mia.init())
  for (const text of ['wrong', 'longer and wrong', 'right']) {
    assert.equal((await mia.send(id, Buffer.from(text), chunkQuery(1, 2, 11))).status, 200)
    assert.equal((await storedFiles(server)).length, 1)
  }
  assert.equal((await mia.send(id, Buffer.from(' chunk'), chunkQuery(2, 2, 11))).status, 200)
  assert.equal((await mia.download(id)).bytes.toString(), 'right chunk')
})

test('a chunk that is sent again when the file is whole is a retry', async (t) => {
  const place = await scene(t)
  const { id, bytes, chunks } = await threeChunks(place)
  const whole = await place.mia.get(id)
  for (const [index, chunk] of chunks.entries()) {
    const again = await place.mia.send(id, chunk, chunkQuery(index + 1, 3, 350))
    assert.deepEqual(outcome(again), outcome(whole))
  }
  assert.equal((await storedFiles(place.server)).length, 3)
  assertSameBytes((await place.mia.download(id)).bytes, bytes)
})

test('anything else that a person sends to a whole file is refused', async (t) => {
  const place = await scene(t)
  const { id, bytes, chunks } = await threeChunks(place)
  const [first, second, third] = chunks
  const changed = Buffer.from(first)
  changed[99] = (changed[99] ?? 0) ^ 1
  const attempts: [string, Uint8Array, Record<string, number>][] = [
    ['the last byte differs', changed, chunkQuery(1, 3, 350)],
    ['a byte less', first.subarray(0, 99), chunkQuery(1, 3, 350)],
    ['a byte more', Buffer.concat([first, second.subarray(0, 1)]), chunkQuery(1, 3, 350)],
    ['nothing', Buffer.of(), chunkQuery(1, 3, 350)],
    ['another number', first, chunkQuery(2, 3, 350)],
    ['a number beyond the last', third, chunkQuery(4, 4, 350)],
    ['another number of chunks', first, chunkQuery(1, 4, 350)],
    ['another total', first, chunkQuery(1, 3, 351)],
    ['all of it as one chunk', bytes, { total_chunks: 1, total_size: 350, chunk_number: 1 }],
  ]
  for (const [what, sent, query] of attempts) {
    assert.deepEqual(outcome(await place.mia.send(id, sent, query)), NO_OVERWRITE, what)
  }
  assert.equal((await storedFiles(place.server)).length, 3)
  assertSameBytes((await place.mia.download(id)).bytes, bytes)
})

test('the same bytes for a small file that came whole are a retry too', async (t) => {
  const { mia } = await scene(t)
  const { id } = resourceOf(await mia.upload(Buffer.from('small')))
  assert.equal((await mia.send(id, Buffer.from('small'))).status, 200)
  assert.deepEqual(outcome(await mia.send(id, Buffer.from('smell'))), NO_OVERWRITE)
})

for (const [what, sameBytes] of [
  ['equal to it counts as a retry', true],
  ['that differs changes nothing', false],
] as const) {
  test(`a copy that began before the file was whole, ends after it and is ${what}`, async (t) => {
    const { server, company, mia } = await scene(t)
    const bytes = pattern(200_000)
    const { id } = resourceOf(await mia.init())
    const late = Buffer.from(bytes.subarray(0, 100_000))
    if (!sameBytes) late[99_999] = (late[99_999] ?? 0) ^ 1
    const { begun, finish } = await slowly(server, company, id, late, chunkQuery(1, 2, 200_000))
    await begun
    for (const number of [1, 2]) {
      const chunk = bytes.subarray((number - 1) * 100_000, number * 100_000)
      assert.equal((await mia.send(id, chunk, chunkQuery(number, 2, 200_000))).status, 200)
    }
    const answer = await finish()
    if (sameBytes) assert.deepEqual(outcome(answer), outcome(await mia.get(id)))
    else assert.deepEqual(outcome(answer), NO_OVERWRITE)
    assertSameBytes((await mia.download(id)).bytes, bytes)
    assert.equal((await storedFiles(server)).length, 2)
  })
}

/** Sends a chunk but for its end. */
async function slowly(
  server: TestServer,
  company: TestCompany,
  fileId: string,
  bytes: Buffer,
  query: Record<string, number>,
) {
  const search = new URLSearchParams(Object.entries(query).map(([k, v]) => [k, String(v)]))
  const form = encodeForm([{ name: 'file', filename: 'blob', content: bytes }])
  const connection = new RawConnection(server)
  await connection.send(
    head('POST', `${filesPath(company, fileId)}?${search}`, {
      ...bearer(company.member),
      ...formType(),
      'content-length': form.length,
    }),
    form.subarray(0, form.length - 1000),
  )
  const begun = eventually(async () => (await storedFiles(server)).length > 0)
  return {
    begun,
    async finish() {
      await connection.send(form.subarray(form.length - 1000))
      const answer = await connection.answer()
      connection.socket.destroy()
      return answer
    },
  }
}

test('a last chunk with which the total is another than was declared is refused, and the upload stays open', async (t) => {
  const { mia, server } = await scene(t)
  const { id } = resourceOf(await mia.init({ total_size: 20, total_chunks: 2 }))
  assert.equal((await mia.send(id, Buffer.alloc(10, 1), chunkQuery(1, 2, 20))).status, 200)
  for (const size of [0, 9, 11, 1000]) {
    assert.deepEqual(
      outcome(await mia.send(id, Buffer.alloc(size), chunkQuery(2, 2, 20))),
      refusal(400, 'Bad Request', `the chunks have ${10 + size} bytes, 20 were announced`),
    )
    assert.equal((await mia.download(id)).status, 409)
    assert.equal((await storedFiles(server)).length, 1)
  }
  assert.equal((await mia.send(id, Buffer.alloc(10, 2), chunkQuery(2, 2, 20))).status, 200)
  assert.equal((await mia.download(id)).bytes.length, 20)
})

test('totals are compared where both were given', async (t) => {
  const { mia } = await scene(t)
  const { id } = resourceOf(await mia.init({ total_size: 20 }))
  const ten = Buffer.alloc(10)
  const refused: [Record<string, number>, string][] = [
    [chunkQuery(1, 2, 21), '20 bytes were announced, not 21'],
    [{ total_chunks: 2, chunk_number: 3 }, 'there is no chunk 3 of 2'],
    [{ chunk_number: 2 }, 'there is no chunk 2 of 1'],
  ]
  for (const [query, message] of refused) {
    assert.deepEqual(outcome(await mia.send(id, ten, query)), refusal(400, 'Bad Request', message))
  }
  // Chunks were not given before: this request gives them.
  assert.equal((await mia.send(id, ten, { total_chunks: 2, chunk_number: 1 })).status, 200)
  assert.deepEqual(
    outcome(await mia.send(id, ten, { total_chunks: 3, chunk_number: 2 })),
    refusal(400, 'Bad Request', '2 chunks were announced, not 3'),
  )
  assert.equal((await mia.send(id, ten, { chunk_number: 2 })).status, 200)
})

test('a file sent whole has the size that was counted, whatever was declared', async (t) => {
  const { mia } = await scene(t)
  for (const size of [0, 1, 65_536, 65_537, 300_000]) {
    const answer = await mia.upload(pattern(size), { total_size: 5, total_chunks: 1 })
    const { id, upload_data } = resourceOf(answer)
    assert.deepEqual(upload_data, { size, chunks: 1 })
    const { bytes, headers } = await mia.download(id)
    assertSameBytes(bytes, pattern(size))
    assert.equal(headers.get('content-length'), String(size))
  }
})

test('one chunk is a whole file, also an empty one', async (t) => {
  const { mia } = await scene(t)
  for (const size of [0, 10]) {
    const { id } = resourceOf(await mia.init({ filename: 'one', total_size: size }))
    assert.equal((await mia.send(id, pattern(size))).status, 200)
    assertSameBytes((await mia.download(id)).bytes, pattern(size))
  }
})

test('a first chunk that is sent to the collection makes the file', async (t) => {
  const { mia, server } = await scene(t)
  const bytes = pattern(20)
  const first = await mia.upload(bytes.subarray(10), { ...chunkQuery(2, 2, 20), filename: 'x' })
  const { id, metadata } = resourceOf(first)
  assert.equal(metadata?.name, 'x')
  assert.equal((await mia.send(id, bytes.subarray(0, 10), chunkQuery(1, 2, 20))).status, 200)
  assertSameBytes((await mia.download(id)).bytes, bytes)

  const { status } = await mia.upload(bytes, { chunk_number: 5 })
  assert.equal(status, 400)
  assert.equal((await storedFiles(server)).length, 2)
})

test('a chunk whose client leaves or whose form breaks off is as if it had not been sent', async (t) => {
  const { server, company, mia } = await scene(t)
  const { id } = resourceOf(await mia.init())
  const form = encodeForm([{ name: 'file', filename: 'blob', content: pattern(100_000) }])
  const broken = form.subarray(0, form.length - 10)
  const path = `${filesPath(company, id)}?total_chunks=2&chunk_number=1`
  const connection = new RawConnection(server)
  await connection.send(
    head('POST', path, {
      ...bearer(company.member),
      ...formType(),
      'content-length': broken.length,
    }),
    broken,
  )
  assert.equal((await connection.answer()).status, 400)
  connection.socket.destroy()

  const leaving = await slowly(server, company, id, pattern(100_000), chunkQuery(1, 2, 9))
  await leaving.begun.catch(() => undefined)
  assert.deepEqual((await mia.state(id)).body, {
    resource: {
      company_id: company.id,
      id,
      complete: false,
      total_chunks: null,
      total_size: null,
      expires_at: server.clock.now + 7 * 24 * 3600 * 1000,
      chunks: [],
    },
  })
  assert.equal((await leaving.finish()).status, 200)
})

test('an unfinished upload can be deleted, and its bytes go', async (t) => {
  const { mia, server } = await scene(t)
  const { id } = resourceOf(await mia.init())
  await mia.send(id, pattern(100), chunkQuery(1, 2, 200))
  assert.deepEqual(outcome(await mia.remove(id)), { status: 200, body: { status: 'success' } })
  assert.deepEqual(await storedFiles(server), [])
  assert.equal((await mia.remove(id)).status, 404)
  assert.equal((await mia.send(id, pattern(100), chunkQuery(2, 2, 200))).status, 404)
})

test('name and type: those of a chunk replace those that were announced', async (t) => {
  const { mia } = await scene(t)
  const { id } = resourceOf(await mia.init({ filename: 'early', type: 'text/plain' }))
  const query = { ...chunkQuery(1, 3, 30), filename: 'late', type: 'text/css' }
  const first = await mia.send(id, pattern(10), query)
  assert.deepEqual(resourceOf(first).metadata, {
    name: 'late',
    mime: 'text/css',
    thumbnails_status: 'waiting',
  })
  await mia.send(id, pattern(10), { ...chunkQuery(2, 3, 30), filename: 'later' })
  const last = await mia.send(id, pattern(10), chunkQuery(3, 3, 30))
  assert.deepEqual(resourceOf(last).metadata, {
    name: 'late',
    mime: 'text/css',
    thumbnails_status: 'done',
  })
})

test("the part's own name and type are taken where nothing else was said", async (t) => {
  const { mia, company, server } = await scene(t)
  const announced = resourceOf(await mia.init({ filename: 'told.txt', type: 'text/csv' }))
  const sent = await mia.send(announced.id, pattern(10))
  assert.deepEqual(resourceOf(sent).metadata?.name, 'told.txt')
  assert.deepEqual(resourceOf(sent).metadata?.mime, 'text/csv')

  const form = new FormData()
  form.append('x', new Blob(['a'], { type: 'image/png' }), 'Bild ä.png')
  const response = await fetch(server.address + filesPath(company), {
    method: 'POST',
    headers: bearer(company.member),
    body: form,
  })
  const { resource } = (await response.json()) as { resource: { metadata: unknown } }
  assert.deepEqual(resource.metadata, {
    name: 'Bild ä.png',
    mime: 'image/png',
    thumbnails_status: 'done',
  })
})
