import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from 'content-disposition'
import { assertSameBytes, pattern } from '../../helpers/bytes.ts'
import {
  bearer,
  chunkQuery,
  client,
  createCompany,
  filesPath,
  refusal,
  resourceOf,
} from '../../helpers/companies.ts'
import { call, outcome, pick } from '../../helpers/http.ts'
import { startTestServer } from '../../helpers/server.ts'

const SIZES = [70_000, 65_536, 1, 100_000]

test('any range of a file in chunks, across their borders', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const bytes = pattern(SIZES.reduce((sum, size) => sum + size, 0))
  const { id } = resourceOf(await mia.init())
  let at = 0
  const borders = [0]
  for (const [index, size] of SIZES.entries()) {
    await mia.send(id, bytes.subarray(at, at + size), chunkQuery(index + 1, 4, bytes.length))
    at += size
    borders.push(at)
  }
  for (const from of borders.flatMap((border) => [border - 1, border, border + 1])) {
    for (const length of [1, 2, 65_537, bytes.length]) {
      if (from < 0 || from >= bytes.length) continue
      const to = Math.min(from + length, bytes.length)
      const answer = await mia.download(id, { range: `bytes=${from}-${to - 1}` })
      assert.equal(answer.status, 206)
      assert.equal(answer.headers.get('content-range'), `bytes ${from}-${to - 1}/${bytes.length}`)
      assertSameBytes(answer.bytes, bytes.subarray(from, to))
    }
  }
  const outside = await mia.download(id, { range: `bytes=${bytes.length}-` })
  assert.equal(outside.status, 416)
  assert.equal(outside.headers.get('content-range'), `bytes */${bytes.length}`)
})

test('a version: the same until the file is overwritten', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const { id } = resourceOf(await mia.upload(Buffer.from('one')))
  const etag = (await mia.download(id)).headers.get('etag') ?? ''
  assert.match(etag, /^"[0-9a-f-]{36}"$/)
  assert.equal((await mia.download(id, { 'if-none-match': etag })).status, 304)
  const rest = { range: 'bytes=1-', 'if-range': etag }
  assert.equal((await mia.download(id, rest)).bytes.toString(), 'ne')

  await client(server, company, company.app).send(id, Buffer.from('two'))
  const after = await mia.download(id, rest)
  assert.deepEqual([after.status, after.bytes.toString()], [200, 'two'])
  assert.notEqual(after.headers.get('etag'), etag)
  assert.equal((await mia.download(id, { 'if-match': etag })).status, 412)
})

test('HEAD answers as GET does, without the bytes', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const { id } = resourceOf(await mia.upload(pattern(1000), { filename: 'a', type: 'image/png' }))
  const names = ['content-type', 'content-length', 'content-disposition', 'etag', 'accept-ranges']
  const path = filesPath(company, id, '/download')
  const head = await call(server, 'HEAD', path, { headers: bearer(company.member) })
  assert.equal(head.status, 200)
  assert.equal(head.bytes.length, 0)
  assert.deepEqual(pick(head.headers, ...names), pick((await mia.download(id)).headers, ...names))
})

test('a file that is not complete is not handed out', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const { id } = resourceOf(await mia.init({ filename: 'x' }))
  const incomplete = refusal(409, 'Conflict', 'The file is not complete')
  assert.deepEqual(outcome(await mia.download(id)), incomplete)
  await mia.send(id, pattern(10), chunkQuery(1, 2, 20))
  assert.deepEqual(outcome(await mia.download(id)), incomplete)
})

/** What somebody calls a file, and what it is saved as. */
const NAMES: [given: string, saved: string][] = [
  ['plain.txt', 'plain.txt'],
  ['with space.txt', 'with space.txt'],
  ['été ñ 日本.txt', 'été ñ 日本.txt'],
  ['quote".txt', 'quote".txt'],
  ["b'c;d.txt", "b'c;d.txt"],
  ['100 %.txt', '100 %.txt'],
  ['%C3%A9.txt', '%C3%A9.txt'],
  ['../../etc/passwd', '....etcpasswd'],
  ['C:\\boot.ini', 'C:boot.ini'],
  ['a\r\nSet-Cookie: x=y', 'aSet-Cookie: x=y'],
  ['😀.png', '😀.png'],
  ['\u0000', 'file'],
  ['null', ''],
]

test('every name comes with its download, and never as a path or a header', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  for (const [given, saved] of NAMES) {
    const { id, metadata } = resourceOf(await mia.upload(Buffer.from('x'), { filename: given }))
    const { headers, status } = await mia.download(id)
    const expected = saved || 'blob'
    assert.equal(status, 200, given)
    assert.equal(metadata?.name, given === 'null' ? 'blob' : given)
    const header = headers.get('content-disposition') ?? ''
    assert.match(header, /^[\x20-\x7e]+$/)
    const { type, parameters } = parse(header)
    assert.deepEqual([type, parameters.filename], ['attachment', expected])
    assert.equal(headers.get('set-cookie'), null)
  }
})

test('a type is sent as it was given if it is one, and nothing runs', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const mia = client(server, company, company.member)
  const types = {
    'image/svg+xml': 'image/svg+xml',
    'text/html; charset=utf-8': 'text/html; charset=utf-8',
    'image/png\r\nX-Evil: 1': 'application/octet-stream',
    nonsense: 'application/octet-stream',
    'text/日本': 'application/octet-stream',
  }
  for (const [given, sent] of Object.entries(types)) {
    const { id, metadata } = resourceOf(await mia.upload(Buffer.from('x'), { type: given }))
    assert.equal(metadata?.mime, given)
    assert.deepEqual(
      pick(
        (await mia.download(id)).headers,
        ...['content-type', 'x-content-type-options', 'content-security-policy', 'x-evil'],
      ),
      {
        'content-type': sent,
        'x-content-type-options': 'nosniff',
        'content-security-policy': "sandbox; default-src 'none'",
        'x-evil': null,
      },
    )
  }
})
