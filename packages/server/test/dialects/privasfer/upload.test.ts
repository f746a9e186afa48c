import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { accountFileColumn } from '../../../src/core/account-files/files.ts'
import type { Sealed } from '../../../src/core/schema.ts'
import {
  api,
  createOwner,
  type FileJson,
  fileForm,
  invalid,
  list,
  message,
  type Owner,
  uploaded,
} from '../../helpers/account.ts'
import { pattern } from '../../helpers/bytes.ts'
import { testFolder } from '../../helpers/cleanup.ts'
import {
  type Answer,
  encodeForm,
  eventually,
  formType,
  head,
  outcome,
  RawConnection,
  read,
  type WirePart,
} from '../../helpers/http.ts'
import { keyringOf } from '../../helpers/keyring.ts'
import { startTestServer, type TestServer } from '../../helpers/server.ts'
import { rowsOf } from '../../helpers/store.ts'
import { storedFiles } from '../../helpers/stored.ts'

const run = promisify(execFile)
const MIB = 1024 * 1024
const REQUIRED = invalid({ file: ['The file field is required.'] })

async function scene(
  t: TestContext,
  environment: NodeJS.ProcessEnv = {},
): Promise<{ server: TestServer; who: Owner }> {
  const server = await startTestServer(t, environment)
  return { server, who: await createOwner(server) }
}

/** A form just as it stands on the wire. */
function postForm(server: TestServer, who: Owner, ...parts: WirePart[]): Promise<Answer> {
  const body = encodeForm(parts) as Uint8Array<ArrayBuffer>
  return api(server, who, 'POST', '/files', { headers: formType(), body })
}

const dataOf = ({ body }: Answer) => (body as { data: FileJson }).data

/** What the client gave, out of the sealed row. */
async function givenNames(server: TestServer): Promise<string[]> {
  const { config } = server
  const column = accountFileColumn(await keyringOf(config))
  const rows = (await rowsOf(
    config,
    'select id, owner_id, sealed from account_file order by n',
  )) as { id: string; owner_id: string; sealed: Sealed<never> }[]
  return rows.map(({ id, owner_id, sealed }) => column.open(id, owner_id, sealed).givenName)
}

test('names arrive as they were given, and the download offers them safely', async (t) => {
  const { server, who } = await scene(t)
  const long = `${'ž'.repeat(296)}.pdf`
  /** What stands in the form, what is shown, what is kept of it, and what a download says. */
  const cases: [string, string, string, string][] = [
    ['x\\y.txt', 'xy.txt', 'x\\y.txt', 'filename=xy.txt'],
    ['a/b.txt', 'ab.txt', 'a/b.txt', 'filename=ab.txt'],
    ['../../up.txt', '....up.txt', '../../up.txt', 'filename=....up.txt'],
    ['say %22hi%22.txt', 'say "hi".txt', 'say "hi".txt', 'filename="say \\"hi\\".txt"'],
    ['two%0D%0Alines.txt', 'twolines.txt', 'two\r\nlines.txt', 'filename=twolines.txt'],
    ['100%.txt', '100%.txt', '100%.txt', 'filename=100%.txt'],
    ['.htaccess', '.htaccess', '.htaccess', 'filename=.htaccess'],
    ['a.', 'a.', 'a.', 'filename=a.'],
    [' padded .txt ', 'padded .txt', ' padded .txt ', 'filename="padded .txt"'],
    [
      'sąskaita.pdf',
      'sąskaita.pdf',
      'sąskaita.pdf',
      `filename="s?skaita.pdf"; filename*=UTF-8''s%C4%85skaita.pdf`,
    ],
    [
      'حساب.pdf',
      'حساب.pdf',
      'حساب.pdf',
      `filename="????.pdf"; filename*=UTF-8''%D8%AD%D8%B3%D8%A7%D8%A8.pdf`,
    ],
    [
      '\u202efdp.exe',
      '\u202efdp.exe',
      '\u202efdp.exe',
      `filename="?fdp.exe"; filename*=UTF-8''%E2%80%AEfdp.exe`,
    ],
    ['😀.png', '😀.png', '😀.png', `filename="??.png"; filename*=UTF-8''%F0%9F%98%80.png`],
    [
      long,
      long,
      long,
      `filename="${'?'.repeat(296)}.pdf"; filename*=UTF-8''${'%C5%BE'.repeat(296)}.pdf`,
    ],
    [
      'e\u0301.txt',
      'e\u0301.txt',
      'e\u0301.txt',
      `filename="e?.txt"; filename*=UTF-8''e%CC%81.txt`,
    ],
  ]
  for (const [wire, shown, , disposition] of cases) {
    const answer = await postForm(server, who, { name: 'file', filename: wire, content: 'x' })
    assert.equal(answer.status, 201, wire)
    const { id, full_filename } = dataOf(answer)
    assert.equal(full_filename, shown)
    const download = await api(server, who, 'GET', `/files/${id}/download`)
    assert.equal(download.headers.get('content-disposition'), `attachment; ${disposition}`, wire)
  }
  assert.deepEqual(
    await givenNames(server),
    cases.map(([, , given]) => given),
  )
})

test('file name, extension and full name fit together', async (t) => {
  const { server, who } = await scene(t)
  const cases: [string, string, string][] = [
    ['invoice.pdf', 'invoice', 'pdf'],
    ['a.tar.gz', 'a.tar', 'gz'],
    ['README', 'README', ''],
    ['.htaccess', '', 'htaccess'],
    ['a.', 'a', ''],
  ]
  for (const [full, name, extension] of cases) {
    const file = await uploaded(server, who, full)
    assert.deepEqual([file.full_filename, file.filename, file.extension], [full, name, extension])
  }
})

test('what a form must have, and what it may not', async (t) => {
  const { server, who } = await scene(t)
  const file: WirePart = { name: 'file', filename: 'a.txt', content: 'x' }
  const cases: [WirePart[], { status: number; body: unknown }][] = [
    [[], REQUIRED],
    [[{ name: 'document', filename: 'a.txt', content: 'x' }], REQUIRED],
    [[{ name: 'file', content: 'just text' }], invalid({ file: ['The file must be a file.'] })],
    [
      [file, { ...file, filename: 'b.txt' }],
      invalid({ file: ['The file must be a single file.'] }),
    ],
    [
      [file, { name: 'note', content: 'x' }, file],
      invalid({ file: ['The file must be a single file.'] }),
    ],
  ]
  for (const [parts, expected] of cases) {
    assert.deepEqual(outcome(await postForm(server, who, ...parts)), expected)
  }
  assert.deepEqual(await list(server, who), [])
  assert.deepEqual(await storedFiles(server), [])
  // Other fields and files are no harm.
  const answer = await postForm(
    ...([server, who] as const),
    { name: 'note', content: 'x' },
    { name: 'other', filename: 'b.txt', content: 'y' },
    file,
  )
  assert.deepEqual([answer.status, dataOf(answer).full_filename], [201, 'a.txt'])
})

test('a second file of any size is refused, and nothing of the first one stays', async (t) => {
  const { server, who } = await scene(t)
  const file: WirePart = { name: 'file', filename: 'a.bin', content: pattern(300_000) }
  const answer = await postForm(server, who, file, file)
  assert.deepEqual(outcome(answer), invalid({ file: ['The file must be a single file.'] }))
  assert.deepEqual(await storedFiles(server), [])
  assert.deepEqual(await server.core.accountFiles.usage(who.id), { files: 0, trashed: 0, bytes: 0 })
})

test('what is no form, or a broken one, is refused', async (t) => {
  const { server, who } = await scene(t)
  const failed = invalid({ file: ['The file failed to upload.'] })
  const boundless = { 'content-type': 'multipart/form-data' }
  const cases: [Record<string, string>, string, { status: number; body: unknown }][] = [
    [{ 'content-type': 'application/json' }, '{"file":"x"}', REQUIRED],
    [{ 'content-type': 'application/x-www-form-urlencoded' }, 'file=x', REQUIRED],
    [{ 'content-type': 'text/plain' }, 'x', REQUIRED],
    [boundless, 'x', failed],
    [formType(), 'no boundary in here', failed],
    [
      formType(),
      '--edge\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx',
      failed,
    ],
  ]
  for (const [headers, body, expected] of cases) {
    const answer = await api(server, who, 'POST', '/files', { headers, body })
    assert.deepEqual(outcome(answer), expected, body)
  }
  assert.deepEqual(outcome(await api(server, who, 'POST', '/files')), REQUIRED)
  assert.deepEqual(await list(server, who), [])
})

test('an empty file is a file', async (t) => {
  const { server, who } = await scene(t)
  const file = await uploaded(server, who, 'empty.txt', '', 'text/plain')
  assert.deepEqual(
    [file.size, file.formatted_size, file.encrypted_size, file.type],
    [0, '0 B', 33, 'text/plain'],
  )
  const download = await api(server, who, 'GET', `/files/${file.id}/download`)
  assert.deepEqual([download.status, download.bytes.length], [200, 0])
})

test('a file without a name is called file', async (t) => {
  const { server, who } = await scene(t)
  const answer = await postForm(server, who, { name: 'file', filename: '', content: 'x' })
  assert.deepEqual([answer.status, dataOf(answer).full_filename], [201, 'file'])
})

test('the encrypted size is what lies on the disk, or in the database', async (t) => {
  const { server, who } = await scene(t)
  for (const size of [0, 1, 65_536]) {
    const { id, encrypted_size } = await uploaded(server, who, 'small', pattern(size))
    const [{ bytes }] = (await rowsOf(
      server.config,
      'select length(small_content.sealed) as bytes from small_content join account_file using (blob_id) where id = ?',
      id,
    )) as [{ bytes: number }]
    assert.equal(encrypted_size, bytes)
  }
  assert.deepEqual(await storedFiles(server), [])
  for (const size of [65_537, 1_000_000, 3 * MIB]) {
    const before = new Set(await storedFiles(server))
    const { encrypted_size } = await uploaded(server, who, 'large', pattern(size))
    const [name = ''] = (await storedFiles(server)).filter((one) => !before.has(one))
    const { size: onDisk } = await stat(join(server.config.data, 'blobs', name.slice(0, 2), name))
    assert.equal(encrypted_size, onDisk)
    assert.ok(onDisk > size && onDisk < size * 1.01)
  }
})

test('the media type is that of the content, then what the client says', async (t) => {
  const { server, who } = await scene(t)
  const png = Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==',
    'base64',
  )
  const pdf = '%PDF-1.7\n%âãÏÓ\n1 0 obj\n'
  const cases: [string, Uint8Array | string, string | undefined, string][] = [
    ['picture.txt', png, 'text/plain', 'image/png'],
    ['picture', Buffer.concat([png, randomBytes(200_000)]), undefined, 'image/png'],
    ['invoice.pdf', pdf, 'application/octet-stream', 'application/pdf'],
    ['invoice.html', pdf, 'text/html', 'application/pdf'],
    ['notes.txt', 'plain text', 'text/plain', 'text/plain'],
    ['notes.txt', 'plain text', 'Text/PLAIN; charset=utf-8', 'text/plain'],
    ['data.csv', 'a,b', 'text/csv', 'text/csv'],
    ['thing', 'x', 'application/vnd.thing+json', 'application/vnd.thing+json'],
    ['odd', 'x', 'nonsense', 'application/octet-stream'],
    ['odd', 'x', '../../etc', 'application/octet-stream'],
    ['odd', 'x', 'text/<script>', 'application/octet-stream'],
    // A part that says nothing is text, RFC 7578, section 4.4.
    ['odd', 'x', undefined, 'text/plain'],
  ]
  for (const [filename, content, type, expected] of cases) {
    const part: WirePart = { name: 'file', filename, content, ...(type !== undefined && { type }) }
    const answer = await postForm(server, who, part)
    assert.equal(dataOf(answer).type, expected, `${filename} as ${type}`)
    const download = await api(server, who, 'HEAD', `/files/${dataOf(answer).id}/download`)
    assert.equal(download.headers.get('content-type'), expected)
    assert.equal(download.headers.get('x-content-type-options'), 'nosniff')
  }
})

test('curl sends a file of any name, and gets it back as it was', async (t) => {
  const { server, who } = await scene(t)
  const folder = await testFolder(t)
  const bytes = randomBytes(2_500_000)
  const path = join(folder, 'in.bin')

  await writeFile(path, bytes)
  const header = `authorization: ${who.headers.authorization}`
  const curl = (...rest: string[]) => run('/usr/bin/curl', ['-sS', '-H', header, ...rest])
  const form = `file=@${path};filename="a \\"quoted\\" ž.bin"`
  const { stdout } = await curl('-F', form, `${server.address}/api/files`)
  const sent = JSON.parse(stdout) as { data: FileJson }
  assert.equal(sent.data.full_filename, 'a "quoted" ž.bin')
  const out = join(folder, 'out.bin')
  await curl('-o', out, `${server.address}/api/files/${sent.data.id}/download`)
  assert.ok(bytes.equals(await readFile(out)))
})

/** Sends the head of an upload of so many bytes and only the beginning of its body. */
async function beginUpload(
  server: TestServer,
  who: Owner,
  announced: number,
  sent: number,
): Promise<Answer> {
  const connection = new RawConnection(server)
  const headers = { ...who.headers, ...formType(), 'content-length': announced }
  const start = encodeForm([{ name: 'file', filename: 'a', content: pattern(sent) }])
  await connection.send(head('POST', '/api/files', headers), start.subarray(0, sent))
  const answer = await connection.answer()
  connection.socket.destroy()
  return answer
}

/** Uploads without telling the length. */
async function uploadChunked(server: TestServer, who: Owner, size: number): Promise<Answer> {
  const form = encodeForm([{ name: 'file', filename: 'a', content: pattern(size) }])
  async function* pieces() {
    for (let at = 0; at < form.length; at += 50_000) yield form.subarray(at, at + 50_000)
  }
  const response = await fetch(`${server.address}/api/files`, {
    method: 'POST',
    headers: { ...who.headers, ...formType() },
    body: Readable.from(pieces()) as unknown as NonNullable<RequestInit['body']>,
    duplex: 'half',
  } as RequestInit)

  return read(response)
}

test('a file over the limit is refused by its announced length, before its body came', async (t) => {
  const { server, who } = await scene(t, { HOLDFAST_ACCOUNT_FILE_MAX_MB: '2' })
  const tooLarge = invalid({ file: ['The file may not be greater than 2048 kilobytes.'] })
  const began = performance.now()
  const answer = await beginUpload(server, who, 500 * MIB, 1.5 * MIB)
  assert.deepEqual(outcome(answer), tooLarge)
  assert.ok(performance.now() - began < 4000)
  assert.deepEqual(await storedFiles(server), [])

  assert.deepEqual(outcome(await uploadChunked(server, who, 2 * MIB + 1)), tooLarge)
  assert.deepEqual(await storedFiles(server), [])
  assert.equal((await uploadChunked(server, who, 2 * MIB)).status, 201)
  assert.equal((await uploaded(server, who, 'exact', pattern(2 * MIB))).size, 2 * MIB)
})

test('an upload over the quota is 413, by length or by counting, and frees with the trash', async (t) => {
  const { server, who } = await scene(t, { HOLDFAST_ACCOUNT_QUOTA_MB: '2' })
  const full = message(413, 'The storage quota is used up.')
  const { id } = await uploaded(server, who, 'first', pattern(1.5 * MIB))
  assert.deepEqual(outcome(await beginUpload(server, who, 100 * MIB, 1.5 * MIB)), full)
  assert.deepEqual(outcome(await uploadChunked(server, who, 0.5 * MIB + 1)), full)
  const form = fileForm(pattern(0.5 * MIB + 1), 'a')
  assert.deepEqual(outcome(await api(server, who, 'POST', '/files', { body: form })), full)
  assert.equal((await storedFiles(server)).length, 1)
  assert.equal((await uploadChunked(server, who, 0.5 * MIB)).status, 201)
  assert.deepEqual(outcome(await uploadChunked(server, who, 1)), full)
  // Somebody else has a quota of her own, and what is deleted counts no more.
  const other = await createOwner(server, 'Somebody Else')
  assert.equal((await uploadChunked(server, other, 1)).status, 201)
  await api(server, who, 'DELETE', `/files/${id}`)
  assert.equal((await uploadChunked(server, who, 1.5 * MIB)).status, 201)
})

test('uploads at the same time do not pass the quota together', async (t) => {
  const { server, who } = await scene(t, { HOLDFAST_ACCOUNT_QUOTA_MB: '1' })
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => uploadChunked(server, who, 0.3 * MIB)),
  )
  assert.deepEqual(answers.map(({ status }) => status).toSorted(), [201, 201, 201, 413, 413, 413])
  assert.equal((await storedFiles(server)).length, 3)
  const { files, bytes } = await server.core.accountFiles.usage(who.id)
  assert.equal(files, 3)
  assert.ok(bytes <= MIB)
})

test('who has no token is refused before the body is read', async (t) => {
  const { server, who } = await scene(t)
  const stranger = { ...who, headers: { authorization: 'Bearer nobody' } }
  const answer = await beginUpload(server, stranger, 500 * MIB, 1.5 * MIB)
  assert.deepEqual(outcome(answer), message(401, 'Unauthenticated.'))
  assert.deepEqual(await storedFiles(server), [])
})

test('an upload that breaks off leaves nothing', async (t) => {
  const { server, who } = await scene(t)
  const connection = new RawConnection(server)
  const headers = { ...who.headers, ...formType(), 'content-length': 10 * MIB }
  const start = encodeForm([{ name: 'file', filename: 'a', content: pattern(2 * MIB) }])
  await connection.send(head('POST', '/api/files', headers), start.subarray(0, MIB))

  await eventually(async () => (await storedFiles(server)).length === 1)
  connection.socket.destroy()
  await eventually(async () => (await storedFiles(server)).length === 0)
  assert.deepEqual(await list(server, who), [])
})
