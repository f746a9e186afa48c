import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import {
  type Answer,
  call,
  encodeForm,
  eventually,
  formType,
  head,
  outcome,
  RawConnection,
  refusal,
  type WirePart,
} from '../../helpers/http.ts'
import {
  createBox,
  PUBLIC_KEY,
  type SignedIn,
  signIn,
  startTestServer,
  uploadForm,
} from '../../helpers/server.ts'
import { storedFiles } from '../../helpers/stored.ts'

const MIB = 1024 * 1024
const NOT_MEMBER = refusal(403, 'not_defined', 'not a member of this box', {
  reason: 'not_member',
  sender_id: 'forbidden',
})
const TOO_BIG = refusal(400, 'not_defined', 'size: the maximum file size is 8MB.', {
  size: 'invalid',
})

async function ownBox(t: TestContext, environment: NodeJS.ProcessEnv = {}) {
  const server = await startTestServer(t, environment)
  const ann = await signIn(server, 'Ann Example')
  const box = await createBox(server, ann)
  const path = `/boxes/${box}/encrypted-files`

  const send = async (parts: readonly WirePart[], boundary?: string): Promise<Answer> =>
    call(server, 'POST', path, {
      as: ann,
      headers: formType(boundary),
      body: encodeForm(parts, boundary) as Uint8Array<ArrayBuffer>,
    })
  const fetched = async ({ body }: Answer, as: SignedIn = ann): Promise<Buffer> => {
    const { content } = body as { content: { encrypted_file_id: string } }
    return (await call(server, 'GET', `/encrypted-files/${content.encrypted_file_id}`, { as }))
      .bytes
  }
  /** That nothing of what was sent is left. */
  const assertNothingKept = async () => {
    assert.deepEqual(await storedFiles(server), [])
    assert.equal(await server.core.boxes.countEvents(ann.id, box, 'files'), 0)
  }
  return { server, ann, box, path, send, fetched, assertNothingKept }
}

const file = (content: string | Uint8Array, more: Partial<WirePart> = {}): WirePart => ({
  name: 'encrypted_file',
  filename: 'blob',
  type: 'application/octet-stream',
  content,
  ...more,
})
const message: WirePart = { name: 'msg_encrypted_content', content: 'Ym9uam91cg==' }
const publicKey: WirePart = { name: 'msg_public_key', content: 'another-key' }

test('the answer to an upload is the whole event', async (t) => {
  const { ann, box, send } = await ownBox(t)
  const answer = await send([file('bytes'), message, publicKey])
  const event = answer.body as { id: string; content: { encrypted_file_id: string } }
  assert.deepEqual(outcome(answer), {
    status: 201,
    body: {
      type: 'msg.file',
      content: {
        encrypted: 'Ym9uam91cg==',
        public_key: 'another-key',
        encrypted_file_id: event.content.encrypted_file_id,
        is_saved: false,
      },
      box_id: box,
      id: event.id,
      server_event_created_at: '2026-01-15T12:00:00.000Z',
      referrer_id: null,
      sender: {
        id: ann.id,
        display_name: 'Ann Example',
        avatar_url: null,
        identifier_value: ann.email,
        identifier_kind: 'email',
      },
    },
  })
})

const forms: Record<string, WirePart[]> = {
  'the file first, as clients send it': [file('bytes'), message, publicKey],
  'the file last': [publicKey, message, file('bytes')],
  'the file in the middle': [message, file('bytes'), publicKey],
  'a file without type': [{ name: 'encrypted_file', filename: 'blob', content: 'bytes' }, message],
  'a file without name': [{ name: 'encrypted_file', content: 'bytes' }, message],
  'a file of another type': [file('bytes', { type: 'text/html' }), message],
  'a file with a name that is a path': [file('bytes', { filename: '../../etc/passwd' }), message],
  'more parts than are known, which are skipped': [
    { name: 'note', content: 'text' },
    { name: 'attachment', filename: 'other', content: randomBytes(100_000) },
    file('bytes'),
    message,
    { name: 'attachment', filename: 'other', content: randomBytes(100_000) },
  ],
  'the file twice, of which the first counts': [file('bytes'), file('other'), message],
  'the message twice, of which the first counts': [
    file('bytes'),
    message,
    { ...message, content: '!' },
  ],
}
test('a form is taken with', async (t) => {
  const { send, fetched } = await ownBox(t)
  for (const [what, parts] of Object.entries(forms)) {
    await t.test(what, async () => {
      const answer = await send(parts)
      assert.equal(answer.status, 201, String(answer.bytes))
      assert.equal(String(await fetched(answer)), 'bytes')
    })
  }
})

test("without a public key the box's own is taken", async (t) => {
  const { send } = await ownBox(t)
  for (const parts of [
    [file('bytes'), message],
    [file('bytes'), message, { name: 'msg_public_key', content: '' }],
  ]) {
    const { content } = (await send(parts)).body as { content: { public_key: string } }
    assert.equal(content.public_key, PUBLIC_KEY)
  }
})

test('the message is base64 of either alphabet, padded or not, and is kept as it came', async (t) => {
  const { send } = await ownBox(t)
  for (const content of ['Ym9uam91cg==', 'Ym9uam91cg', '+/+/', '-_-_', 'A'.repeat(100_000)]) {
    const answer = await send([file('bytes'), { ...message, content }])
    assert.equal((answer.body as { content: { encrypted: string } }).content.encrypted, content)
  }
})

const REQUIRED_FILE = refusal(400, 'body', 'no file', { encrypted_file: 'required' })
const faulty: Record<string, [WirePart[], { status: number; body: unknown }]> = {
  'no parts': [[], REQUIRED_FILE],
  'no file': [[message, publicKey], REQUIRED_FILE],
  'a file by another name': [[file('bytes', { name: 'file' }), message], REQUIRED_FILE],
  'no message': [
    [file('bytes')],
    refusal(400, 'not_defined', 'msg_encrypted_content: cannot be blank.', {
      msg_encrypted_content: 'required',
    }),
  ],
  'a message that is a file': [
    [file('bytes'), { ...message, filename: 'message' }],
    refusal(400, 'not_defined', 'msg_encrypted_content: cannot be blank.', {
      msg_encrypted_content: 'required',
    }),
  ],
  'no bytes in the file': [
    [file(''), message],
    refusal(400, 'not_defined', 'size: cannot be blank.', { size: 'required' }),
  ],
  'everything wrong at once': [
    [file(''), { ...message, content: 'é' }, { ...publicKey, content: 'a b' }],
    refusal(
      400,
      'not_defined',
      'msg_encrypted_content: must be in a valid format; ' +
        'msg_public_key: must be in a valid format; size: cannot be blank.',
      { msg_encrypted_content: 'malformed', msg_public_key: 'malformed', size: 'required' },
    ),
  ],
  'a large file that came before a wrong message': [
    [file(randomBytes(MIB)), { ...message, content: '!' }],
    refusal(400, 'not_defined', 'msg_encrypted_content: must be in a valid format.', {
      msg_encrypted_content: 'malformed',
    }),
  ],
  'too many fields': [
    [file(randomBytes(MIB)), ...Array.from({ length: 60 }, () => message)],
    refusal(413, 'body', 'the form has too many parts'),
  ],
  'too many files': [
    Array.from({ length: 12 }, () => file('bytes')),
    refusal(413, 'body', 'the form has too many parts'),
  ],
  'more beside the file than belongs there': [
    [
      file('bytes'),
      { name: 'attachment', filename: 'other', content: randomBytes(5 * MIB) },
      message,
    ],
    refusal(413, 'body', 'the form is too long'),
  ],
  'a field that is too long': [
    [file(randomBytes(MIB)), { ...message, content: 'A'.repeat(MIB + 1) }],
    refusal(413, 'body', 'the field msg_encrypted_content is too long'),
  ],
}
test('a form is refused, and nothing of it kept, with', async (t) => {
  const { send, assertNothingKept } = await ownBox(t)
  for (const [what, [parts, expected]] of Object.entries(faulty)) {
    await t.test(what, async () => {
      assert.deepEqual(outcome(await send(parts)), expected)
      await assertNothingKept()
    })
  }
})

const malformed: Record<string, { type?: string; body: string; expected: object }> = {
  'no content type': {
    body: 'bytes',
    expected: refusal(400, 'body', 'the body must be multipart/form-data', {
      encrypted_file: 'required',
    }),
  },
  JSON: {
    type: 'application/json',
    body: '{}',
    expected: refusal(400, 'body', 'the body must be multipart/form-data', {
      encrypted_file: 'required',
    }),
  },
  'another multipart type': {
    type: 'multipart/mixed; boundary=edge',
    body: '--edge--',
    expected: refusal(400, 'body', 'the body must be multipart/form-data', {
      encrypted_file: 'required',
    }),
  },
  'no boundary': {
    type: 'multipart/form-data',
    body: '--edge--',
    expected: refusal(400, 'body', 'the form is malformed'),
  },
  'another boundary than is told': {
    type: 'multipart/form-data; boundary=other',
    body: String(encodeForm([file('bytes'), message])),
    expected: refusal(400, 'body', 'the form is malformed'),
  },
  'no closing boundary': {
    type: 'multipart/form-data; boundary=edge',
    body: String(encodeForm([message, file('b'.repeat(200_000))])).slice(0, -12),
    expected: refusal(400, 'body', 'the form is malformed'),
  },
  'half a closing boundary': {
    type: 'multipart/form-data; boundary=edge',
    body: String(encodeForm([message, file('bytes')])).slice(0, -4),
    expected: refusal(400, 'body', 'the form is malformed'),
  },
}
test('a body is refused, and nothing of it kept, with', async (t) => {
  const { server, ann, path, assertNothingKept } = await ownBox(t)
  for (const [what, { type, body, expected }] of Object.entries(malformed)) {
    await t.test(what, async () => {
      const connection = new RawConnection(server)
      const headers = {
        ...ann.headers,
        ...(type && { 'content-type': type }),
        'content-length': Buffer.byteLength(body),
        connection: 'close',
      }
      await connection.send(head('POST', path, headers), body)
      assert.deepEqual(outcome(await connection.answer()), expected)
      await assertNothingKept()
    })
  }
  await t.test('no body at all', async () => {
    const answer = await call(server, 'POST', path, { as: ann })
    assert.equal(answer.status, 400)
    assert.deepEqual((answer.body as { details: unknown }).details, { encrypted_file: 'required' })
  })
})

test('a part may have long headers, and one without a disposition is skipped', async (t) => {
  const { server, ann, path, send, fetched } = await ownBox(t)
  const extra = `x-padding: ${'p'.repeat(10_000)}\r\n`
  const answer = await send([file('bytes', { extra }), message])
  assert.equal(answer.status, 201)
  assert.equal(String(await fetched(answer)), 'bytes')
  const body = `--edge\r\n\r\nnameless\r\n${encodeForm([file('bytes'), message])}`
  const nameless = await call(server, 'POST', path, { as: ann, headers: formType(), body })
  assert.equal(nameless.status, 201)
})

test('strangers and unknown boxes are refused before anything is stored', async (t) => {
  const { server, ann, path, assertNothingKept } = await ownBox(t)
  const eve = await signIn(server, 'Eve Example')
  const body = () => uploadForm(randomBytes(100_000))
  assert.deepEqual(outcome(await call(server, 'POST', path, { as: eve, body: body() })), NOT_MEMBER)
  const unknown = `/boxes/${randomUUID()}/encrypted-files`
  const nowhere = await call(server, 'POST', unknown, { as: ann, body: body() })
  assert.deepEqual(outcome(nowhere), NOT_MEMBER)
  const id = await call(server, 'POST', '/boxes/x/encrypted-files', { as: ann, body: body() })
  assert.deepEqual(
    outcome(id),
    refusal(400, 'not_defined', 'id: must be in a valid format.', { id: 'malformed' }),
  )
  await assertNothingKept()
})

test('the limit is what is configured, to the byte', async (t) => {
  const { server, ann, path, send, fetched } = await ownBox(t, { HOLDFAST_BOX_FILE_MAX_MB: '1' })
  const exact = randomBytes(MIB)
  const taken = await send([file(exact), message])
  assert.equal(taken.status, 201)
  assert.ok((await fetched(taken)).equals(exact))
  assert.deepEqual(
    outcome(await call(server, 'POST', path, { as: ann, body: uploadForm(randomBytes(MIB + 1)) })),
    refusal(400, 'not_defined', 'size: the maximum file size is 1MB.', { size: 'invalid' }),
  )
  assert.equal((await storedFiles(server)).length, 1)
})

test('who still sends far too much reads the refusal, and the connection closes', async (t) => {
  const { server, ann, path, assertNothingKept } = await ownBox(t)
  const answer = await call(server, 'POST', path, {
    as: ann,
    body: uploadForm(new Uint8Array(30 * MIB)),
  })
  assert.deepEqual(outcome(answer), TOO_BIG)
  assert.equal(answer.headers.get('connection'), 'close')
  await assertNothingKept()
})

test('a stranger who sends far too much reads the refusal too', async (t) => {
  const { server, path } = await ownBox(t)
  const body = () => uploadForm(new Uint8Array(30 * MIB))
  const eve = await signIn(server, 'Eve Example')
  const strange = await call(server, 'POST', path, { as: eve, body: body() })
  assert.deepEqual(outcome(strange), NOT_MEMBER)
  assert.equal(strange.headers.get('connection'), 'close')
  const unsigned = await call(server, 'POST', path, { body: body() })
  assert.deepEqual(
    outcome(unsigned),
    refusal(403, 'not_defined', 'invalid csrf token', { csrf_token: 'invalid' }),
  )
})

test('nothing is left of an upload whose client leaves half way', async (t) => {
  const { server, ann, path, assertNothingKept } = await ownBox(t)
  const form = encodeForm([message, file(randomBytes(4 * MIB))])
  for (const extra of [{ 'content-length': form.byteLength }, { 'transfer-encoding': 'chunked' }]) {
    const connection = new RawConnection(server)
    const headers = { ...ann.headers, ...formType(), ...extra }
    await connection.send(head('POST', path, headers))
    const half = form.subarray(0, form.byteLength / 2)
    if ('content-length' in extra) await connection.send(half)
    else await connection.send(`${half.byteLength.toString(16)}\r\n`, half, '\r\n')
    await eventually(async () => (await storedFiles(server)).length === 1)
    connection.socket.resetAndDestroy()
    await eventually(async () => (await storedFiles(server)).length === 0)
    await assertNothingKept()
  }
})

test('who leaves the box or loses it while she sends is refused, and nothing is kept', async (t) => {
  const { server, ann, box, path } = await ownBox(t)
  const bob = await signIn(server, 'Bob Example')
  await server.core.boxes.setAccessMode(ann.id, box, 'public')
  await server.core.boxes.join(bob.id, box)
  const form = encodeForm([file(randomBytes(MIB)), message])
  const connection = new RawConnection(server)
  const headers = { ...bob.headers, ...formType(), 'content-length': form.byteLength }
  await connection.send(head('POST', path, headers), form.subarray(0, MIB / 2))
  await eventually(async () => (await storedFiles(server)).length === 1)
  await server.core.boxes.leave(bob.id, box)
  await connection.send(form.subarray(MIB / 2))
  assert.deepEqual(outcome(await connection.answer()), NOT_MEMBER)
  connection.socket.destroy()
  assert.deepEqual(await storedFiles(server), [])
})
