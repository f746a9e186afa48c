import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { call, head, outcome, pick, RawConnection, refusal } from '../../helpers/http.ts'
import { createBox, signIn, startTestServer, upload } from '../../helpers/server.ts'
import { flipByte, removeFile, shorten, storedPath, swapFiles } from '../../helpers/stored.ts'

const CHUNK = 65_536
const SIZE = 20 * CHUNK
/** What the seal puts before the first chunk is shorter than this. */
const LONGEST_HEADER = 4096
const INTERNAL = refusal(500, 'not_defined', '')

/** Two stored files of one box, of which the first is going to be damaged. */
async function twoFiles(t: TestContext) {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const box = await createBox(server, ann)
  const bytes = randomBytes(SIZE)
  const otherBytes = randomBytes(SIZE)
  const { fileId } = await upload(server, ann, box, bytes)
  const { fileId: otherId } = await upload(server, ann, box, otherBytes)
  const get = (id = fileId, headers: Record<string, string> = {}) =>
    call(server, 'GET', `/encrypted-files/${id}`, { as: ann, headers })
  const failures = async () =>
    (await server.app.metrics.integrityFailures.get()).values.find(
      ({ labels }) => labels.dialect === 'misakey',
    )?.value
  const logged = () => server.logged.filter(({ msg, level }) => msg === 'failed' && level === 50)
  /** That it was counted and logged so often, and that other files are well. */
  const assertNoticed = async (times: number, others = true) => {
    assert.equal(await failures(), times)
    assert.equal(logged().length, times)
    for (const { route } of logged()) assert.equal(route, '/encrypted-files/:id')
    if (others) assert.ok((await get(otherId)).bytes.equals(otherBytes))
  }
  const path = storedPath(server, fileId)
  return { server, ann, bytes, fileId, otherId, path, get, assertNoticed }
}

const damages: Record<string, (path: string) => Promise<void>> = {
  missing: removeFile,
  empty: (path) => shorten(path, 0),
  'truncated in its header': (path) => shorten(path, 50),
  'truncated by a byte': (path) => shorten(path, SIZE),
  'truncated at a chunk': (path) => shorten(path, 10 * CHUNK),
  'flipped in its header': (path) => flipByte(path, 30),
  'flipped in its first chunk': (path) => flipByte(path, LONGEST_HEADER + 100),
}
for (const [how, damage] of Object.entries(damages)) {
  test(`a stored file that is ${how} is a fault of the server, without any detail`, async (t) => {
    const { path, get, assertNoticed } = await twoFiles(t)
    await damage(path)
    const answer = await get()
    assert.deepEqual(outcome(answer), INTERNAL)
    assert.deepEqual(
      pick(answer.headers, 'etag', 'content-disposition', 'content-range', 'cache-control'),
      {
        etag: null,
        'content-disposition': null,
        'content-range': null,
        'cache-control': 'no-store, no-cache',
      },
    )
    await assertNoticed(1)
  })
}

test('a stored file in the place of another is a fault for both', async (t) => {
  const { server, path, otherId, get, assertNoticed } = await twoFiles(t)
  await swapFiles(path, storedPath(server, otherId))
  assert.deepEqual(outcome(await get()), INTERNAL)
  assert.deepEqual(outcome(await get(otherId)), INTERNAL)
  await assertNoticed(2, false)
  await swapFiles(path, storedPath(server, otherId))
  assert.equal((await get()).status, 200)
})

// What lies before is read, and so opened, before the head goes out.
for (const chunk of [4, 12, 19]) {
  test(`a flip in chunk ${chunk} cuts the connection, and only good bytes came`, async (t) => {
    const { server, ann, bytes, fileId, path, assertNoticed } = await twoFiles(t)
    await flipByte(path, LONGEST_HEADER + chunk * (CHUNK + 16))
    const connection = new RawConnection(server)
    await connection.send(head('GET', `/encrypted-files/${fileId}`, ann.headers))
    await connection.closed
    const { status, bytes: received } = await connection.answer()
    assert.equal(status, 200)
    assert.ok(received.byteLength <= chunk * CHUNK, `${received.byteLength} bytes`)
    assert.ok(received.equals(bytes.subarray(0, received.byteLength)))
    await assertNoticed(1)
  })
}

test('ranges before the damage are served, and ranges in it are not', async (t) => {
  const { bytes, fileId, path, get, assertNoticed } = await twoFiles(t)
  await flipByte(path, LONGEST_HEADER + 12 * (CHUNK + 16))
  const before = await get(fileId, { range: `bytes=0-${10 * CHUNK - 1}` })
  assert.equal(before.status, 206)
  assert.ok(before.bytes.equals(bytes.subarray(0, 10 * CHUNK)))
  const after = await get(fileId, { range: `bytes=${15 * CHUNK}-` })
  assert.ok(after.bytes.equals(bytes.subarray(15 * CHUNK)))
  await assertNoticed(0)
  const within = await get(fileId, { range: `bytes=${12 * CHUNK + 5}-${12 * CHUNK + 6}` })
  assert.deepEqual(outcome(within), INTERNAL)
  assert.equal(within.headers.get('content-range'), null)
  await assertNoticed(1)
})

test('the failure of a stored file can be read from the metrics', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_METRICS_TOKEN: 'scrape' })
  const ann = await signIn(server, 'Ann Example')
  const { fileId } = await upload(server, ann, await createBox(server, ann), randomBytes(SIZE))
  const metrics = async () =>
    String(
      (await call(server, 'GET', '/metrics', { headers: { authorization: 'Bearer scrape' } }))
        .bytes,
    )
  assert.match(await metrics(), /^holdfast_integrity_failures_total\{dialect="misakey"\} 0$/m)
  await shorten(storedPath(server, fileId), 10)
  await call(server, 'GET', `/encrypted-files/${fileId}`, { as: ann })
  assert.match(await metrics(), /^holdfast_integrity_failures_total\{dialect="misakey"\} 1$/m)
})
