import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { api, createOwner, type FileJson, fileForm, stored } from '../../helpers/account.ts'
import { testFolder } from '../../helpers/cleanup.ts'
import { outcome } from '../../helpers/http.ts'
import { startTestServer, type TestServer } from '../../helpers/server.ts'

const run = promisify(execFile)

/** The document's own command lines and answers, verbatim. */
const COMMANDS = (await seed('commands.txt')).trim().split('\n\n')
const ANSWERS = JSON.parse(await seed('answers.json')) as {
  list: { data: FileJson[] }
  show: { data: FileJson }
  upload: { data: FileJson; success: true }
  invalid: unknown
}
const [LIST = '', SHOW = '', UPLOAD = '', DELETE = ''] = COMMANDS

const PRINTED_TOKEN = '7xcB5XlinBWGzajPdSW7bHr12erWZICIJN4jk0RpasoLYLpoiD6ErYnVSzld'
const PRINTED_ID = 'fad2027a-ac89-4ef4-baab-95b2fb316cf1'
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

function seed(name: string): Promise<string> {
  return readFile(new URL(`seed/${name}`, import.meta.url), 'utf8')
}

/** The person and the day of the printed answers, and the file that they are about. */
async function scene(t: TestContext) {
  const server = await startTestServer(t)
  const printed = ANSWERS.upload.data.created_by
  const { core, clock } = server
  clock.now = Date.parse('2019-05-07T21:03:07Z')
  const who = await createOwner(server, printed.name, { timeZone: printed.timezone })
  await core.identities.change(who.id, { avatarUrl: printed.photo_url })
  // The category came with an earlier file.
  await core.accountFiles.trash(who.id, (await stored(server, who, 'first')).id)
  const invoice = Buffer.concat([Buffer.from('%PDF-1.7\n'), randomBytes(43_389 - 9)])
  clock.now = Date.parse('2019-05-07T21:18:03Z')
  return { server, who, invoice, email: who.email }
}

/** What is printed, but for what differs by nature: ids, our address, our encryption and store. */
function expected(printed: FileJson, id: string, email: string): FileJson {
  return {
    ...printed,
    id,
    encrypted_size: 43_422,
    formatted_encrypted_size: '42.4 KB',
    created_by: { ...printed.created_by, email },
    disk: 'local',
  }
}

/** Runs a printed command; answers status and body. */
async function shell(
  server: TestServer,
  command: string,
  words: Record<string, string>,
): Promise<{ status: number; body: unknown }> {
  const replaced = Object.entries({ 'https://privasfer.com': server.address, ...words }).reduce(
    (text, [from, to]) => text.replaceAll(from, to),
    command,
  )
  const line = replaced.replace(/^curl /, "/usr/bin/curl -sS -w '\\n%{http_code}' ")
  const { stdout } = await run('/bin/sh', ['-c', line])
  const at = stdout.lastIndexOf('\n')
  const text = stdout.slice(0, at)
  return {
    status: Number(stdout.slice(at + 1)),
    body: text === '' ? undefined : JSON.parse(text),
  }
}

test('there are four command lines in the document', () => {
  assert.deepEqual(
    COMMANDS.map((command) => /^curl (-X \w+)?/.exec(command)?.[1] ?? 'GET'),
    ['GET', 'GET', '-X POST', '-X DELETE'],
  )
})

test("the document's command lines do what it says, byte for byte as they are printed", async (t) => {
  const { server, who, invoice, email } = await scene(t)
  const path = join(await testFolder(t), 'invoice.pdf')
  await writeFile(path, invoice)
  const words = { [PRINTED_TOKEN]: who.token, '/path/to/file': path }

  const upload = await shell(server, UPLOAD, words)
  const { id, category } = (upload.body as { data: Required<FileJson> }).data
  const file = expected(ANSWERS.list.data[0] as FileJson, id, email)
  assert.match(id, UUID)
  assert.match(category.id, UUID)
  const withCategory = {
    ...expected(ANSWERS.upload.data, id, email),
    category: { id: category.id, name: 'Uploads', created_at: '2019-05-08 00:03:07' },
  }
  assert.deepEqual(upload, { status: 201, body: { data: withCategory, success: true } })
  // Also in the order in which they are printed.
  assert.equal(JSON.stringify(upload.body), JSON.stringify({ data: withCategory, success: true }))

  const listed = await shell(server, LIST, words)
  assert.equal(listed.status, 200)
  const [first, tombstone] = (listed.body as { data: FileJson[] }).data
  assert.equal(JSON.stringify(first), JSON.stringify(file))
  assert.equal(tombstone?.trashed, true)

  const ours = { ...words, [PRINTED_ID]: id }
  const shown = await shell(server, SHOW, ours)
  assert.deepEqual(shown, { status: 200, body: { data: file } })
  assert.equal(JSON.stringify(shown.body), JSON.stringify({ data: file }))

  assert.deepEqual(await shell(server, DELETE, ours), { status: 204, body: undefined })
  assert.deepEqual(await shell(server, SHOW, ours), {
    status: 200,
    body: { data: { ...file, trashed: true } },
  })

  const without = UPLOAD.replace('file=@', 'document=@')
  assert.deepEqual(await shell(server, without, words), { status: 422, body: ANSWERS.invalid })
  const nothing = UPLOAD.replace(/ \\\n.*-F.*$/, '')
  assert.ok(!nothing.includes('-F'))
  assert.deepEqual(await shell(server, nothing, words), { status: 422, body: ANSWERS.invalid })
})

test('the printed id is nobody’s, and the printed token is refused', async (t) => {
  const server = await startTestServer(t)
  const who = await createOwner(server)
  const words = { [PRINTED_TOKEN]: who.token }
  const notFound = { status: 404, body: { message: 'Not Found.' } }
  assert.deepEqual(await shell(server, SHOW, words), notFound)
  assert.deepEqual(await shell(server, DELETE, words), notFound)
  for (const command of [LIST, SHOW, DELETE]) {
    assert.deepEqual(await shell(server, command, {}), {
      status: 401,
      body: { message: 'Unauthenticated.' },
    })
  }
})

test('the same requests over fetch answer what is printed', async (t) => {
  const { server, who, invoice, email } = await scene(t)
  const headers = { Accept: 'application/json', 'Content-Type': 'application/json' }
  const body = fileForm(invoice, 'invoice.pdf')
  const upload = await api(server, who, 'POST', '/files', {
    headers: { Accept: 'application/json' },
    body,
  })
  assert.equal(upload.status, 201)
  const { id } = (upload.body as { data: FileJson }).data
  const file = expected(ANSWERS.show.data, id, email)
  assert.deepEqual(outcome(await api(server, who, 'GET', `/files/${id}`, { headers })), {
    status: 200,
    body: { data: file },
  })
  const listed = await api(server, who, 'GET', '/files?trashed=without', { headers })
  assert.deepEqual(outcome(listed), { status: 200, body: { data: [file] } })
  const { category, ...rest } = (
    (await api(server, who, 'GET', '/files?trashed=without&include=category', { headers }))
      .body as { data: Required<FileJson>[] }
  ).data[0] as Required<FileJson>
  assert.deepEqual(rest, file)
  assert.deepEqual(category, (upload.body as { data: FileJson }).data.category)
  const removed = await api(server, who, 'DELETE', `/files/${id}`, { headers })
  assert.deepEqual(
    [removed.status, removed.bytes.byteLength, removed.headers.get('content-type')],
    [204, 0, null],
  )
})
