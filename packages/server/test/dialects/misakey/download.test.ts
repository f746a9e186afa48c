import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { call, outcome, pick, refusal } from '../../helpers/http.ts'
import { createBox, signIn, signInAgain, startTestServer, upload } from '../../helpers/server.ts'

const CHUNK = 65_536
const SIZE = 3 * CHUNK + 1000

/** A box of Ann's with a file of a little more than three chunks. */
async function boxWithFile(t: TestContext) {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const box = await createBox(server, ann)
  const bytes = randomBytes(SIZE)
  const { fileId, eventId } = await upload(server, ann, box, bytes)
  const path = `/encrypted-files/${fileId}`
  const etag = `"${fileId}"`
  const get = (headers: Record<string, string> = {}, method = 'GET') =>
    call(server, method, path, { as: ann, headers })
  return { server, ann, box, bytes, fileId, eventId, path, etag, get }
}

const SAFETY = {
  'cache-control': 'private, no-cache',
  vary: 'Cookie, Origin',
  'content-disposition': 'attachment',
  'content-security-policy': "sandbox; default-src 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

test('a download has all its bytes, its length, its version, and headers that disarm it', async (t) => {
  const { bytes, etag, get } = await boxWithFile(t)
  const expected = {
    ...SAFETY,
    'content-type': 'application/octet-stream',
    'content-length': String(SIZE),
    'accept-ranges': 'bytes',
    etag,
    'content-range': null,
  }
  const whole = await get()
  assert.equal(whole.status, 200)
  assert.ok(whole.bytes.equals(bytes))
  assert.deepEqual(pick(whole.headers, ...Object.keys(expected)), expected)

  const looked = await get({}, 'HEAD')
  assert.equal(looked.status, 200)
  assert.equal(looked.bytes.byteLength, 0)
  assert.deepEqual(pick(looked.headers, ...Object.keys(expected)), expected)
})

for (const size of [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 9 * CHUNK + 1]) {
  test(`a file of ${size} bytes comes back byte for byte`, async (t) => {
    const server = await startTestServer(t)
    const ann = await signIn(server, 'Ann Example')
    const bytes = randomBytes(size)
    const { fileId } = await upload(server, ann, await createBox(server, ann), bytes)
    const answer = await call(server, 'GET', `/encrypted-files/${fileId}`, { as: ann })
    assert.equal(answer.headers.get('content-length'), String(size))
    assert.ok(answer.bytes.equals(bytes))
  })
}

/** `[start, end)` of what is sent, by the header that asks for it. */
const ranges: Record<string, [number, number]> = {
  'bytes=0-0': [0, 1],
  'bytes=0-99': [0, 100],
  'bytes=5000-': [5000, SIZE],
  'bytes=-1': [SIZE - 1, SIZE],
  'bytes=-500': [SIZE - 500, SIZE],
  [`bytes=-${SIZE + 1}`]: [0, SIZE],
  [`bytes=-${10 ** 20}`]: [0, SIZE],
  [`bytes=${CHUNK - 1}-${CHUNK}`]: [CHUNK - 1, CHUNK + 1],
  [`bytes=${CHUNK}-${2 * CHUNK - 1}`]: [CHUNK, 2 * CHUNK],
  [`bytes=${CHUNK - 10}-${3 * CHUNK + 10}`]: [CHUNK - 10, 3 * CHUNK + 11],
  [`bytes=${SIZE - 1}-`]: [SIZE - 1, SIZE],
  [`bytes=10-${10 ** 20}`]: [10, SIZE],
}
test('one range is answered with these bytes alone:', async (t) => {
  const { bytes, etag, get } = await boxWithFile(t)
  for (const [range, [start, end]] of Object.entries(ranges)) {
    await t.test(range, async () => {
      const answer = await get({ range })
      assert.equal(answer.status, 206)
      assert.ok(answer.bytes.equals(bytes.subarray(start, end)))
      const expected = {
        ...SAFETY,
        'content-type': 'application/octet-stream',
        'content-length': String(end - start),
        'content-range': `bytes ${start}-${end - 1}/${SIZE}`,
        'accept-ranges': 'bytes',
        etag,
      }
      assert.deepEqual(pick(answer.headers, ...Object.keys(expected)), expected)
    })
  }
})

test('a range outside of the file is told how long the file is', async (t) => {
  const { get } = await boxWithFile(t)
  for (const range of [
    `bytes=${SIZE}-`,
    `bytes=${10 ** 20}-`,
    'bytes=-0',
    `bytes=${SIZE}-${SIZE}`,
  ]) {
    const answer = await get({ range })
    assert.deepEqual(
      outcome(answer),
      refusal(416, 'headers', 'the range lies outside of the file', { Range: 'invalid' }),
    )
    assert.deepEqual(pick(answer.headers, 'content-range', 'etag', 'content-disposition'), {
      'content-range': `bytes */${SIZE}`,
      etag: null,
      'content-disposition': null,
    })
  }
})

test('a range that is malformed, of another unit or one of several is as good as none', async (t) => {
  const { bytes, get } = await boxWithFile(t)
  for (const range of [
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=5-2',
    'bytes=0-1,5-6',
    'chunks=0-1',
    'bytes=0x1-2',
    'bytes=--1',
  ]) {
    const answer = await get({ range })
    assert.equal(answer.status, 200, range)
    assert.ok(answer.bytes.equals(bytes), range)
  }
})

test('HEAD looks at the whole file, whatever range is asked for', async (t) => {
  const { get } = await boxWithFile(t)
  for (const range of ['bytes=0-9', `bytes=${SIZE}-`]) {
    const answer = await get({ range }, 'HEAD')
    assert.deepEqual(
      [answer.status, answer.headers.get('content-length'), answer.headers.get('content-range')],
      [200, String(SIZE), null],
    )
  }
})

test('If-Range: the range of this version, or else all of it', async (t) => {
  const { etag, get } = await boxWithFile(t)
  const asked = async (ifRange: string, range = 'bytes=0-9') =>
    (await get({ range, 'if-range': ifRange })).status
  assert.equal(await asked(etag), 206)
  for (const other of [`"${randomUUID()}"`, `W/${etag}`, etag.replaceAll('"', ''), '*']) {
    assert.equal(await asked(other), 200, other)
  }
  assert.equal(await asked('Wed, 21 Oct 2015 07:28:00 GMT'), 200)
  assert.equal(await asked('"other"', `bytes=${SIZE}-`), 200)
  assert.equal(await asked(etag, `bytes=${SIZE}-`), 416)
})

test('If-None-Match: nothing is sent again to who has this version', async (t) => {
  const { etag, get } = await boxWithFile(t)
  for (const value of [etag, `W/${etag}`, '*', `"other", ${etag}`]) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await get({ 'if-none-match': value, range: 'bytes=0-9' }, method)
      assert.deepEqual([answer.status, answer.bytes.byteLength], [304, 0], value)
      assert.deepEqual(pick(answer.headers, 'etag', 'cache-control', 'vary', 'content-length'), {
        etag,
        'cache-control': 'private, no-cache',
        vary: 'Cookie, Origin',
        'content-length': null,
      })
    }
  }
  assert.equal((await get({ 'if-none-match': '"other"' })).status, 200)
})

test('If-Match: only this version is wanted', async (t) => {
  const { etag, get } = await boxWithFile(t)
  for (const value of [etag, '*', `"other", ${etag}`]) {
    assert.equal((await get({ 'if-match': value })).status, 200, value)
  }
  for (const value of ['"other"', `W/${etag}`, '']) {
    assert.deepEqual(
      outcome(await get({ 'if-match': value })),
      refusal(412, 'headers', 'the file has another version', { 'If-Match': 'invalid' }),
    )
  }
  // It comes before the other condition.
  assert.equal((await get({ 'if-match': '"other"', 'if-none-match': etag })).status, 412)
})

test('members of a box with the file download it, and nobody else', async (t) => {
  const { server, ann, box, bytes, path, eventId } = await boxWithFile(t)
  const bob = await signIn(server, 'Bob Example', 1)
  const forbidden = refusal(403, 'not_defined', 'not a member of a box with this file')
  const ask = async (method = 'GET') => call(server, method, path, { as: bob })
  assert.deepEqual(outcome(await ask()), forbidden)
  assert.deepEqual([(await ask('HEAD')).status, (await ask('HEAD')).bytes.length], [403, 0])

  await server.core.boxes.setAccessMode(ann.id, box, 'public')
  assert.deepEqual(outcome(await ask()), forbidden, 'that he could join is not enough')
  await server.core.boxes.join(bob.id, box)
  assert.ok((await ask()).bytes.equals(bytes))
  await server.core.boxes.leave(bob.id, box)
  assert.deepEqual(outcome(await ask()), forbidden)
  await server.core.boxes.join(bob.id, box)
  await server.core.boxMessages.deleteMessage(ann.id, box, eventId)
  const gone = refusal(404, 'not_defined', 'no such file', { id: 'not_found' })
  assert.deepEqual(outcome(await ask()), gone)

  const unsigned = await call(server, 'GET', path)
  assert.deepEqual(outcome(unsigned), refusal(401, 'not_defined', 'missing authorization'))
})

test('a conditional or ranged request tells a stranger nothing of a file', async (t) => {
  const { server, path, etag } = await boxWithFile(t)
  const bob = await signIn(server, 'Bob Example')
  for (const headers of [
    { range: 'bytes=0-1' },
    { range: `bytes=${SIZE}-` },
    { 'if-none-match': etag },
    { 'if-match': '"other"' },
  ] as Record<string, string>[]) {
    const answer = await call(server, 'GET', path, { as: bob, headers })
    assert.deepEqual(pick(answer.headers, 'etag', 'content-range', 'accept-ranges'), {
      etag: null,
      'content-range': null,
      'accept-ranges': null,
    })
    assert.equal(answer.status, 403)
  }
})

test('an unknown file is not found, and a malformed id is malformed', async (t) => {
  const { server, ann, eventId, fileId } = await boxWithFile(t)
  const weak = await signInAgain(server, ann, 1)
  const ask = async (id: string) =>
    outcome(await call(server, 'GET', `/encrypted-files/${id}`, { as: weak }))
  const unknown = refusal(404, 'not_defined', 'no such file', { id: 'not_found' })
  assert.deepEqual(await ask(randomUUID()), unknown)
  assert.deepEqual(await ask(eventId), unknown, 'the event is not the file')
  const malformed = refusal(400, 'not_defined', 'id: must be in a valid format.', {
    id: 'malformed',
  })
  for (const id of ['x', `${fileId}.1`, '..%2f..%2fholdfast.db', '%', '%ff', 'a'.repeat(5000)]) {
    assert.deepEqual(await ask(id), malformed, id)
  }
})

test('files are the same after a restart', async (t) => {
  const { server, ann, bytes, path } = await boxWithFile(t)
  const again = await server.restart()
  const answer = await call(again, 'GET', path, { as: ann })
  assert.ok(answer.bytes.equals(bytes))
})
