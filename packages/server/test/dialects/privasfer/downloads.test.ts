import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, readlinkSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  api,
  createOwner,
  invalid,
  logText,
  message,
  type Owner,
  pinKeyOf,
  readyDownload,
  stored,
  uploaded,
} from '../../helpers/account.ts'
import { assertSameBytes, pattern } from '../../helpers/bytes.ts'
import { testFolder } from '../../helpers/cleanup.ts'
import { type Answer, call, eventually, outcome, pick } from '../../helpers/http.ts'
import { startTestServer, type TestServer } from '../../helpers/server.ts'
import { filesBelow, rowsOf, tamper } from '../../helpers/store.ts'

const PIN = '1a2s3d'
const NOT_FOUND = message(404, 'Not Found.')
/** More than the sockets of both ends hold, so that a transfer can be caught in the middle. */
const LARGE = 16 * 1024 * 1024
const LARGE_BYTES = randomBytes(LARGE)
const MINUTE = 60_000

async function scene(t: TestContext, pin?: string): Promise<{ server: TestServer; who: Owner }> {
  const server = await startTestServer(t)
  return { server, who: await createOwner(server, 'Author Name', { ...(pin && { pin }) }) }
}

async function file(server: TestServer, who: Owner, bytes: Uint8Array | string, name = 'a.txt') {
  return (await stored(server, who, name, bytes)).id
}

/** Begins a download, leaves in the middle, and waits until the server knows. */
async function breakOff(server: TestServer, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const request = get(`${server.address}${path}`, (response) => {
      assert.equal(response.statusCode, 200)
      response.once('data', () => {
        response.destroy()
        resolve()
      })
      response.on('error', () => undefined)
    })
    request.on('error', reject)
  })
  await eventually(() => isFree(server, path))
}

async function isFree(server: TestServer, path: string): Promise<boolean> {
  const [, , id = ''] = path.split('/')
  const [row] = await rowsOf(
    server.config,
    'select busy_until as at from download where id = ?',
    id,
  )
  return row?.at === 0
}

async function isUsedUp(server: TestServer, path: string): Promise<boolean> {
  return (await call(server, 'HEAD', path)).status === 404
}

test('from PIN to bytes as documented, once', async (t) => {
  const { server } = await scene(t)
  const who = await createOwner(server, 'Vilnius Person', { pin: PIN, timeZone: 'Europe/Vilnius' })
  const bytes = pattern(100_000)
  const { id: fileId } = await uploaded(server, who, 'invoice.pdf', bytes)

  const unlocked = await api(server, who, 'POST', '/keys', { json: { pin: PIN } })
  const { key: pinKey } = (unlocked.body as { data: { key: string } }).data
  assert.match(pinKey, /^[0-9A-Za-z]{32}$/)
  assert.deepEqual(outcome(unlocked), {
    status: 201,
    body: { data: { key: pinKey, expires_at: '2026-01-15 15:00:00' } },
  })
  const made = await api(server, who, 'POST', '/downloads', { json: { files: [fileId] } })
  const { id } = (made.body as { data: { id: string } }).data
  assert.deepEqual(outcome(made), {
    status: 201,
    body: { data: { id, created_at: '2026-01-15 14:00:00' } },
  })
  const keyed = await api(server, who, 'POST', `/downloads/${id}/keys`, { json: { pinKey } })
  const { key } = (keyed.body as { data: { key: string } }).data
  assert.match(key, /^[0-9A-Za-z]{32}$/)
  assert.deepEqual(outcome(keyed), { status: 201, body: { data: { key } } })

  const answer = await call(server, 'GET', `/download/${id}/${key}`)
  assert.equal(answer.status, 200)
  assertSameBytes(answer.bytes, bytes)
  const names = ['content-disposition', 'accept-ranges', 'content-type', 'content-length']
  assert.deepEqual(pick(answer.headers, ...names), {
    'content-disposition': 'attachment; filename=invoice.pdf',
    'accept-ranges': 'bytes',
    'content-type': 'application/octet-stream',
    'content-length': '100000',
  })
  await eventually(() => isUsedUp(server, `/download/${id}/${key}`))
  for (const path of [`/download/${id}/${key}`, `/api/downloads/${id}/${key}`]) {
    assert.deepEqual(outcome(await call(server, 'GET', path)), NOT_FOUND)
  }
})

test('both addresses of a download give the same, and another key nothing', async (t) => {
  const { server, who } = await scene(t)
  const id = await file(server, who, 'the bytes')
  const other = await readyDownload(server, who, id)
  for (const prefix of ['/download', '/api/downloads']) {
    const download = await readyDownload(server, who, id)
    for (const wrong of [other.key, `${download.key}x`, download.key.toLowerCase(), 'x', PIN]) {
      const answer = await call(server, 'GET', `${prefix}/${download.id}/${wrong}`)
      assert.deepEqual(outcome(answer), NOT_FOUND)
    }
    const answer = await call(server, 'GET', `${prefix}/${download.id}/${download.key}`)
    assert.equal(String(answer.bytes), 'the bytes')
  }
})

test('a wrong, missing or malformed PIN is a refused field', async (t) => {
  const { server, who } = await scene(t, PIN)
  const plain = await createOwner(server, 'No Pin')
  const cases: [Owner, unknown, string][] = [
    [who, { pin: 'wrong' }, 'Invalid PIN.'],
    [who, {}, 'The pin field is required.'],
    [who, { pin: '' }, 'The pin field is required.'],
    [who, { pin: null }, 'The pin field is required.'],
    [who, { pin: 123_456 }, 'The pin must be a string.'],
    [plain, { pin: PIN }, 'Invalid PIN.'],
  ]
  for (const [owner, json, text] of cases) {
    const answer = await api(server, owner, 'POST', '/keys', { json })
    assert.deepEqual(outcome(answer), invalid({ pin: [text] }))
  }
  assert.deepEqual(
    outcome(await api(server, who, 'POST', '/keys')),
    invalid({ pin: ['The pin field is required.'] }),
  )
  const trimmed = await api(server, who, 'POST', '/keys', { json: { pin: ` ${PIN} ` } })
  assert.equal(trimmed.status, 201)
})

test('after five wrong PINs there is 429 with the time to wait, for that address', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_TRUSTED_PROXIES: '127.0.0.1' })
  const who = await createOwner(server, 'Author Name', { pin: PIN })
  const attempt = (pin: string, address: string) =>
    api(server, who, 'POST', '/keys', { json: { pin }, headers: { 'x-forwarded-for': address } })
  for (let count = 0; count < 5; count += 1) {
    assert.equal((await attempt('wrong', '192.0.2.1')).status, 422)
  }
  server.clock.advance(60_500)
  const locked = await attempt(PIN, '192.0.2.1')
  assert.deepEqual(outcome(locked), message(429, 'Too Many Attempts.'))
  assert.equal(locked.headers.get('retry-after'), '840')
  assert.equal((await attempt(PIN, '192.0.2.2')).status, 201)
})

test('a key of the PIN can be given back, and then unlocks nothing', async (t) => {
  const { server, who } = await scene(t, PIN)
  const other = await createOwner(server, 'Somebody Else', { pin: PIN })
  const id = await file(server, who, 'x')
  const key = await pinKeyOf(server, who, PIN)
  assert.deepEqual(outcome(await api(server, other, 'DELETE', `/keys/${key}`)), NOT_FOUND)
  const headers = { 'x-pin-key': key }
  assert.equal((await api(server, who, 'GET', `/files/${id}/download`, { headers })).status, 200)
  const removed = await api(server, who, 'DELETE', `/keys/${key}`)
  assert.deepEqual(outcome(removed), { status: 204, body: undefined })
  assert.deepEqual(outcome(await api(server, who, 'DELETE', `/keys/${key}`)), NOT_FOUND)
  assert.equal((await api(server, who, 'GET', `/files/${id}/download`, { headers })).status, 403)
})

test('a download gets no key for a PIN key that is unknown, another’s, ended or an hour old', async (t) => {
  const { server, who } = await scene(t, PIN)
  const other = await createOwner(server, 'Somebody Else', { pin: PIN })
  const fileId = await file(server, who, 'x')
  const pinKey = await pinKeyOf(server, who, PIN)
  const theirs = await pinKeyOf(server, other, PIN)
  server.clock.advance(60 * MINUTE)
  const made = await api(server, who, 'POST', '/downloads', { json: { files: [fileId] } })
  const { id } = (made.body as { data: { id: string } }).data
  const ask = (json: unknown, owner = who) =>
    api(server, owner, 'POST', `/downloads/${id}/keys`, { json })
  const unknown = invalid({ pinKey: ['Pin key does not exists'] })
  for (const key of [pinKey, theirs, 'x'.repeat(32)]) {
    assert.deepEqual(outcome(await ask({ pinKey: key })), unknown)
  }
  const required = invalid({ pinKey: ['The pin key field is required.'] })
  for (const json of [{}, { pinKey: '' }, { pinKey: 7 }, { pinKey: null }]) {
    assert.deepEqual(outcome(await ask(json)), required)
  }
  const fresh = await pinKeyOf(server, other, PIN)
  assert.deepEqual(outcome(await ask({ pinKey: fresh }, other)), NOT_FOUND)
})

test('a download of files that are not there is refused, each by its place', async (t) => {
  const { server, who } = await scene(t)
  const other = await createOwner(server, 'Somebody Else')
  const own = await file(server, who, 'x')
  const theirs = await file(server, other, 'x')
  const trashed = await file(server, who, 'x')
  await api(server, who, 'DELETE', `/files/${trashed}`)
  const selected = (...places: number[]) =>
    invalid(
      Object.fromEntries(
        places.map((at) => [`files.${at}`, [`The selected files.${at} is invalid.`]]),
      ),
    )
  const cases: [unknown, { status: number; body: unknown }][] = [
    [{ files: [own, theirs] }, selected(1)],
    [{ files: [trashed] }, selected(0)],
    [{ files: [trashed, own, 'x'] }, selected(0, 2)],
    [{ files: [own, 5] }, invalid({ 'files.1': ['The files.1 must be a string.'] })],
    [{}, invalid({ files: ['The files field is required.'] })],
    [{ files: [] }, invalid({ files: ['The files field is required.'] })],
    [{ files: null }, invalid({ files: ['The files field is required.'] })],
    [{ files: own }, invalid({ files: ['The files must be an array.'] })],
    [
      { files: Array(1001).fill(own) },
      invalid({ files: ['The files may not have more than 1000 items.'] }),
    ],
  ]
  for (const [json, expected] of cases) {
    assert.deepEqual(outcome(await api(server, who, 'POST', '/downloads', { json })), expected)
  }
})

test('a download has to begin within its minute', async (t) => {
  const { server, who } = await scene(t, PIN)
  const id = await file(server, who, 'x')
  const early = await readyDownload(server, who, id)
  const late = await readyDownload(server, who, id)
  server.clock.advance(MINUTE - 1)
  assert.equal((await call(server, 'GET', early.path)).status, 200)
  server.clock.advance(1)
  for (const method of ['GET', 'HEAD']) {
    assert.equal((await call(server, method, late.path)).status, 404)
  }
  const pinKey = await pinKeyOf(server, who, PIN)
  const keyed = await api(server, who, 'POST', `/downloads/${late.id}/keys`, { json: { pinKey } })
  assert.deepEqual(outcome(keyed), NOT_FOUND)
  assert.ok((await server.core.downloads.forgetExpired()) >= 1)
})

test('a file that went to the trash meanwhile is not downloaded', async (t) => {
  const { server, who } = await scene(t)
  const id = await file(server, who, 'x')
  const { path } = await readyDownload(server, who, id)
  await api(server, who, 'DELETE', `/files/${id}`)
  assert.deepEqual(outcome(await call(server, 'GET', path)), NOT_FOUND)
})

test('asking with HEAD, or for what has not changed, uses nothing', async (t) => {
  const { server, who } = await scene(t)
  const id = await file(server, who, 'the bytes')
  const { path } = await readyDownload(server, who, id)
  const looked = await call(server, 'HEAD', path)
  assert.deepEqual([looked.status, looked.headers.get('content-length')], [200, '9'])
  const etag = looked.headers.get('etag') ?? ''
  for (const [headers, status] of [
    [{ 'if-none-match': etag }, 304],
    [{ 'if-match': '"other"' }, 412],
    [{ range: 'bytes=100-' }, 416],
  ] as [Record<string, string>, number][]) {
    assert.equal((await call(server, 'GET', path, { headers })).status, status)
    await eventually(() => isFree(server, path))
  }
  assert.equal(String((await call(server, 'GET', path)).bytes), 'the bytes')
})

test('a download has one transfer at a time', async (t) => {
  const { server, who } = await scene(t)
  const { path } = await readyDownload(server, who, await file(server, who, LARGE_BYTES))
  const first = await fetch(`${server.address}${path}`)
  const second = await call(server, 'GET', path)
  assert.deepEqual(outcome(second), message(409, 'This download is being performed already.'))
  assert.equal((await call(server, 'HEAD', path)).status, 200)
  assert.equal((await first.arrayBuffer()).byteLength, LARGE)
  await eventually(() => isUsedUp(server, path))
})

test('a broken transfer is continued for ten minutes, and used up with the last byte', async (t) => {
  const { server, who } = await scene(t)
  const bytes = LARGE_BYTES
  const { path } = await readyDownload(server, who, await file(server, who, bytes))
  await breakOff(server, path)
  server.clock.advance(10 * MINUTE - 1)
  const middle = await call(server, 'GET', path, { headers: { range: 'bytes=1000-1999' } })
  assert.deepEqual(
    [middle.status, middle.headers.get('content-range')],
    [206, `bytes 1000-1999/${LARGE}`],
  )
  assertSameBytes(middle.bytes, bytes.subarray(1000, 2000))
  await eventually(() => isFree(server, path))
  // The middle was not the end: the ten minutes begin anew.
  server.clock.advance(10 * MINUTE - 1)
  const rest = await call(server, 'GET', path, { headers: { range: 'bytes=2000-' } })
  assertSameBytes(rest.bytes, bytes.subarray(2000))
  await eventually(() => isUsedUp(server, path))
  assert.deepEqual(outcome(await call(server, 'GET', path)), NOT_FOUND)
})

test('a cancelled first use does not use it up, but ten minutes do', async (t) => {
  const { server, who } = await scene(t)
  const { path } = await readyDownload(server, who, await file(server, who, LARGE_BYTES))
  await breakOff(server, path)
  await breakOff(server, path)
  server.clock.advance(10 * MINUTE)
  assert.deepEqual(outcome(await call(server, 'GET', path)), NOT_FOUND)
})

test('bytes that are damaged are not sent, and the download is not used up', async (t) => {
  const { server, who } = await scene(t)
  const id = await file(server, who, 'the bytes')
  const { path } = await readyDownload(server, who, id)
  const [{ sealed }] = (await rowsOf(server.config, 'select sealed from small_content')) as [
    { sealed: Uint8Array },
  ]
  const put = (bytes: Uint8Array) =>
    tamper(server.config, 'update small_content set sealed = ?', bytes)
  await put(sealed.map((byte, at) => (at === sealed.length - 1 ? byte ^ 1 : byte)))
  assert.deepEqual(outcome(await call(server, 'GET', path)), message(500, 'Server Error'))
  await eventually(() => isFree(server, path))
  await put(sealed)
  assert.equal(String((await call(server, 'GET', path)).bytes), 'the bytes')
})

async function unzipped(t: TestContext, bytes: Buffer): Promise<[string, string][]> {
  const path = join(await testFolder(t), 'files.zip')
  await writeFile(path, bytes)
  const script = `import json, sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
print(json.dumps([[i.filename, z.read(i).decode('latin1')] for i in z.infolist()]))`
  return JSON.parse(execFileSync('python3', ['-c', script, path], { encoding: 'utf8' }))
}

test('several files come as a zip, in their order and with names of their own', async (t) => {
  const { server, who } = await scene(t)
  const given: [string, string][] = [
    ['a.txt', 'one'],
    ['a.txt', 'two'],
    ['A.TXT', 'three'],
    ['a (2).txt', 'four'],
    ['README', 'five'],
    ['README', ''],
    ['..', 'seven'],
    ['C:temp.txt', 'eight'],
    ['a/b\\c.txt', 'nine'],
    ['ąžuolas 😀.txt', 'ten'],
  ]
  const ids: string[] = []
  for (const [name, bytes] of given) ids.push(await file(server, who, bytes, name))
  const { path } = await readyDownload(server, who, ...ids)
  const looked = await call(server, 'HEAD', path)
  const answer = await call(server, 'GET', path)
  for (const { headers, status } of [looked, answer]) {
    assert.deepEqual(
      [status, pick(headers, 'content-type', 'content-disposition', 'accept-ranges')],
      [
        200,
        {
          'content-type': 'application/zip',
          'content-disposition': 'attachment; filename="files.zip"',
          'accept-ranges': null,
        },
      ],
    )
  }
  assert.deepEqual(await unzipped(t, answer.bytes), [
    ['a.txt', 'one'],
    ['a (2).txt', 'two'],
    ['A (3).TXT', 'three'],
    ['a (2) (2).txt', 'four'],
    ['README', 'five'],
    ['README (2)', ''],
    ['__', 'seven'],
    ['C_temp.txt', 'eight'],
    ['abc.txt', 'nine'],
    ['ąžuolas 😀.txt', 'ten'],
  ])
  await eventually(() => isUsedUp(server, path))
})

test('a zip is made while it is sent, and a client that leaves leaves no file open', async (t) => {
  const { server, who } = await scene(t)
  const bytes = LARGE_BYTES
  const ids = [await file(server, who, bytes, 'one'), await file(server, who, 'x', 'two')]
  const { path } = await readyDownload(server, who, ...ids)
  await new Promise<void>((resolve, reject) => {
    const request = get(`${server.address}${path}`, (response) => {
      response.once('data', () => {
        response.pause()
        // It stops reading the files when the client does.
        const before = process.memoryUsage().arrayBuffers
        setTimeout(() => {
          assert.ok(process.memoryUsage().arrayBuffers - before < LARGE / 2)
          assert.equal(openBlobs(server), 1)
          response.destroy()
          resolve()
        }, 300)
      })
      response.on('error', () => undefined)
    })
    request.on('error', reject)
  })
  await eventually(() => openBlobs(server) === 0)
  await eventually(() => isFree(server, path))
  const again = await call(server, 'GET', path)
  assert.equal(again.status, 200)
  assert.ok(again.bytes.byteLength > LARGE)
})

/** Files of content that this process has open. */
function openBlobs(server: TestServer): number {
  return readdirSync('/proc/self/fd').filter((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`).startsWith(
        join(server.config.data, 'blobs'),
      )
    } catch {
      return false
    }
  }).length
}

test('neither keys nor tokens are in the log, nor in any file', async (t) => {
  const { server, who } = await scene(t, PIN)
  const id = await file(server, who, 'x')
  const pinKey = await pinKeyOf(server, who, PIN)
  const download = await readyDownload(server, who, id)
  const wanderers = [
    download.path,
    `/download/${download.id}/${download.key}/`,
    `/download/${download.id}/${download.key}/more`,
    `/api/downloads/${download.id}/${download.key}?x=1`,
    `/api/downloads/${download.id}/${download.key}/more`,
    `/api/keys/${pinKey}/more`,
    `/api/nothing/${pinKey}`,
    `/${pinKey}`,
  ]
  for (const path of wanderers) {
    for (const method of ['HEAD', 'PUT', 'GET']) await call(server, method, path)
  }
  await call(server, 'GET', download.path)
  await api(server, who, 'POST', '/keys', { json: { pin: 'WRONGPIN' } })
  const other = await pinKeyOf(server, who, PIN)
  await api(server, who, 'DELETE', `/keys/${other}`)
  await sleep(20)
  const secrets = [pinKey, other, download.key, who.token, PIN, 'WRONGPIN', who.email]
  const log = logText(server)
  assert.ok(log.includes('/download/:download/:key'))
  for (const secret of secrets) assert.ok(!log.includes(secret), secret)

  // The files are read when the server is gone: to open them beside it would drop its locks.
  const pending = await readyDownload(server, who, await file(server, who, 'y'))
  await server.close()
  for (const name of await filesBelow(server.config.data)) {
    const bytes = await readFile(join(server.config.data, name))
    for (const secret of [...secrets, pending.key]) {
      if (secret !== PIN) assert.equal(bytes.includes(secret), false, `${secret} in ${name}`)
    }
  }
})

test('without a PIN a token is enough; with one its key is needed', async (t) => {
  const { server, who } = await scene(t, PIN)
  const plain = await createOwner(server, 'No Pin')
  const bytes = pattern(200_000)
  const theirs = await file(server, plain, bytes)
  const ours = await file(server, who, bytes)
  const download = (owner: Owner, id: string, headers: Record<string, string> = {}) =>
    api(server, owner, 'GET', `/files/${id}/download`, { headers })
  assertSameBytes((await download(plain, theirs)).bytes, bytes)

  const refused: Record<string, string>[] = [
    {},
    { 'x-pin-key': '' },
    { 'x-pin-key': PIN },
    { 'x-pin-key': 'x'.repeat(32) },
  ]
  for (const headers of refused) {
    const answer = await download(who, ours, headers)
    assert.deepEqual(outcome(answer), message(403, 'This action is unauthorized.'))
  }
  const key = await pinKeyOf(server, who, PIN)
  assertSameBytes((await download(who, ours, { 'x-pin-key': key })).bytes, bytes)
  server.clock.advance(60 * MINUTE)
  assert.equal((await download(who, ours, { 'x-pin-key': key })).status, 403)
})

test('a file can be downloaded again and again, by range and under conditions', async (t) => {
  const server = await startTestServer(t)
  const who = await createOwner(server)
  const bytes = pattern(200_000)
  const { id } = await uploaded(server, who, 'a.bin', bytes)
  const path = `/files/${id}/download`
  const whole = await api(server, who, 'GET', path)
  assertSameBytes(whole.bytes, bytes)
  const etag = whole.headers.get('etag') ?? ''
  assert.match(etag, /^"[^"]+"$/)
  const looked = await api(server, who, 'HEAD', path)
  assert.deepEqual(
    [looked.status, looked.headers.get('content-length'), looked.bytes.length],
    [...[200, '200000', 0]],
  )
  const part = async (headers: Record<string, string>): Promise<Answer> =>
    api(server, who, 'GET', path, { headers })
  const range = await part({ range: 'bytes=65530-131080' })
  assert.equal(range.headers.get('content-range'), 'bytes 65530-131080/200000')
  assertSameBytes(range.bytes, bytes.subarray(65_530, 131_081))
  assertSameBytes((await part({ range: 'bytes=-5' })).bytes, bytes.subarray(-5))
  assert.equal((await part({ 'if-none-match': etag })).status, 304)
  const beyond = await part({ range: 'bytes=200000-' })
  assert.deepEqual([beyond.status, beyond.headers.get('content-range')], [416, 'bytes */200000'])
  assert.deepEqual(Object.keys(beyond.body as object), ['message'])
  for (const [method, id] of [
    ['GET', 'x'],
    ['HEAD', 'x'],
  ]) {
    assert.equal((await api(server, who, method as string, `/files/${id}/download`)).status, 404)
  }
})
