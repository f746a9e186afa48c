import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import manifest from '../../../package.json' with { type: 'json' }
import { pattern } from '../../helpers/bytes.ts'
import { type Answer, call, outcome, refusal } from '../../helpers/http.ts'
import {
  createOpenBox,
  deleteBox,
  deleteMessage,
  download,
  filesWithBytes,
  listSaved,
  post,
  save,
  saved,
  savedUpload,
  saveUpload,
  unsave,
} from '../../helpers/saved-files.ts'
import {
  createBox,
  PUBLIC_KEY,
  type SignedIn,
  signIn,
  signInAgain,
  startTestServer,
  type TestServer,
  upload,
  uploadForm,
} from '../../helpers/server.ts'

const MIB = 1024 * 1024
const USED_UP = refusal(413, 'not_defined', 'the storage quota is used up', { quota: 'invalid' })
const ANOTHERS_ID = refusal(403, 'not_defined', 'another identity', { id: 'forbidden' })
const ANOTHERS = refusal(403, 'not_defined', 'another identity', { identity_id: 'forbidden' })

const quotaOf = (server: TestServer, who: SignedIn) =>
  call(server, 'GET', `/box-users/${who.id}/storage-quota`, { as: who })

/** Bytes that somebody's saved files take. */
async function vaultSpace(server: TestServer, who: SignedIn): Promise<number> {
  const answer = await call(server, 'GET', `/box-users/${who.id}/vault-used-space`, { as: who })
  const { value } = answer.body as { value: number }
  assert.deepEqual(outcome(answer), { status: 200, body: { value } })
  return value
}

/** Bytes that each box of somebody takes. */
async function boxSpaces(server: TestServer, who: SignedIn): Promise<Record<string, number>> {
  const path = `/box-used-spaces?identity_id=${who.id}`
  const answer = await call(server, 'GET', path, { as: who })
  const rows = answer.body as { box_id: string; value: number }[]
  assert.deepEqual(outcome(answer), {
    status: 200,
    body: rows.map(({ box_id, value }) => ({ box_id, value })),
  })
  return Object.fromEntries(rows.map(({ box_id, value }) => [box_id, value]))
}

/** Posts a text of so many bytes, or puts it in the place of another. */
function text(server: TestServer, who: SignedIn, box: string, size: number): Promise<Answer> {
  const content = { encrypted: 'x'.repeat(size), public_key: PUBLIC_KEY }
  return post(server, who, box, { type: 'msg.text', content })
}
function edit(server: TestServer, who: SignedIn, box: string, id: string, size: number) {
  const content = { new_encrypted: 'x'.repeat(size), new_public_key: PUBLIC_KEY }
  return post(server, who, box, { type: 'msg.edit', referrer_id: id, content })
}

const idOf = (answer: Answer): string => (answer.body as { id: string }).id

test('everybody has the base quota', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')

  await t.test('of 100 MiB, told by the first question and the same ever after', async () => {
    const first = await quotaOf(server, ann)
    const [{ id }] = first.body as [{ id: string }]
    assert.match(id, /^[0-9a-f-]{36}$/)
    const expected = {
      id,
      created_at: new Date(server.clock.now).toISOString(),
      identity_id: ann.id,
      value: 104_857_600,
      origin: 'base',
    }
    assert.deepEqual(outcome(first), { status: 200, body: [expected] })
    server.clock.advance(1000)
    assert.deepEqual(outcome(await quotaOf(server, ann)), { status: 200, body: [expected] })
  })

  await t.test('once, however many first questions there are at a time', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => quotaOf(server, bob)))
    const granted = answers.flatMap(({ body }) => body as { id: string }[])
    assert.equal(granted.length, 8)
    assert.equal(new Set(granted.map(({ id }) => id)).size, 1)
  })

  await t.test('also below a password', async () => {
    const weak = await signInAgain(server, ann, 1)
    assert.equal((await quotaOf(server, weak)).status, 200)
    assert.equal(await vaultSpace(server, weak), 0)
    assert.deepEqual(await boxSpaces(server, weak), {})
  })

  await t.test('and nobody sees another’s quota or used space', async () => {
    for (const id of [ann.id, randomUUID()]) {
      for (const [path, expected] of [
        [`/box-users/${id}/storage-quota`, ANOTHERS_ID],
        [`/box-users/${id}/vault-used-space`, ANOTHERS_ID],
        [`/box-used-spaces?identity_id=${id}`, ANOTHERS],
      ] as const) {
        assert.deepEqual(outcome(await call(server, 'GET', path, { as: bob })), expected, path)
      }
    }
  })

  await t.test('and whose is asked for must be said', async () => {
    const malformed = { id: 'malformed' }
    for (const [path, expected] of [
      [
        '/box-users/ann/storage-quota',
        refusal(400, 'not_defined', 'id: must be in a valid format.', malformed),
      ],
      [
        '/box-users/ann/vault-used-space',
        refusal(400, 'not_defined', 'id: must be in a valid format.', malformed),
      ],
      [
        '/box-used-spaces',
        refusal(400, 'not_defined', 'identity_id: cannot be blank.', { identity_id: 'required' }),
      ],
      [
        '/box-used-spaces?identity_id=ann',
        refusal(400, 'not_defined', 'identity_id: must be in a valid format.', {
          identity_id: 'malformed',
        }),
      ],
    ] as const) {
      assert.deepEqual(outcome(await call(server, 'GET', path, { as: ann })), expected, path)
    }
  })
})

test('the used space of boxes', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const box = await createOpenBox(server, ann, bob)
  const silent = await createBox(server, ann)
  const bobs = await createOpenBox(server, bob, ann)
  const used = async () => (await boxSpaces(server, ann))[box]

  await t.test('leaves out boxes that were never written to', async () => {
    assert.deepEqual(await boxSpaces(server, ann), {})
  })

  const file = await upload(server, bob, box, pattern(70_000))
  await t.test('is its creator’s, whoever wrote', async () => {
    assert.deepEqual(await boxSpaces(server, ann), { [box]: 70_000 })
    assert.deepEqual(await boxSpaces(server, bob), {})
    await text(server, ann, bobs, 5)
    assert.deepEqual(await boxSpaces(server, ann), { [box]: 70_000 })
    assert.deepEqual(await boxSpaces(server, bob), { [bobs]: 5 })
  })

  let message = ''
  await t.test('grows by the encoded length of a text', async () => {
    message = idOf(await text(server, bob, box, 100))
    assert.equal(await used(), 70_100)
  })

  await t.test('changes by what an edit makes of a text', async () => {
    await edit(server, bob, box, message, 160)
    assert.equal(await used(), 70_160)
    await edit(server, bob, box, message, 30)
    assert.equal(await used(), 70_030)
  })

  await t.test('sinks by what is deleted, files that others saved as well', async () => {
    await saved(server, ann, file.fileId)
    await deleteMessage(server, bob, box, file.eventId)
    assert.equal(await used(), 30)
    await deleteMessage(server, ann, box, message)
    assert.equal(await used(), 0)
  })

  await t.test('does not change by what is refused', async () => {
    assert.equal((await edit(server, bob, box, message, 50)).status, 410)
    assert.equal((await deleteMessage(server, bob, box, message)).status, 410)
    const form = uploadForm(pattern(10), 'not base64!')
    const path = `/boxes/${box}/encrypted-files`
    assert.equal((await call(server, 'POST', path, { as: bob, body: form })).status, 400)
    assert.equal(await used(), 0)
  })

  await t.test('goes with its box', async () => {
    await text(server, ann, silent, 7)
    assert.deepEqual(await boxSpaces(server, ann), { [box]: 0, [silent]: 7 })
    await deleteBox(server, ann, box)
    assert.deepEqual(await boxSpaces(server, ann), { [silent]: 7 })
  })
})

test('the used space of saved files', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const box = await createOpenBox(server, ann, bob)
  const { fileId, eventId } = await upload(server, ann, box, pattern(70_000))

  await t.test('counts a file of a box for its saver and for the creator of the box', async () => {
    const savedId = await saved(server, bob, fileId)
    assert.equal(await vaultSpace(server, bob), 70_000)
    assert.equal(await vaultSpace(server, ann), 0)
    assert.deepEqual(await boxSpaces(server, ann), { [box]: 70_000 })
    await save(server, bob, fileId)
    assert.equal(await vaultSpace(server, bob), 70_000, 'twice is once')
    await unsave(server, bob, savedId)
    assert.equal(await vaultSpace(server, bob), 0)
  })

  await t.test('counts it whatever became of the message', async () => {
    await saved(server, bob, fileId)
    await deleteMessage(server, ann, box, eventId)
    assert.equal(await vaultSpace(server, bob), 70_000)
    assert.deepEqual(await boxSpaces(server, ann), { [box]: 0 })
  })

  await t.test('counts what was uploaded directly, and no metadata', async () => {
    const direct = await savedUpload(server, bob, pattern(123))
    assert.equal(await vaultSpace(server, bob), 70_123)
    await unsave(server, bob, direct.id)
    assert.equal(await vaultSpace(server, bob), 70_000)
  })
})

test('a quota is only reported unless it is enforced', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_QUOTA_MB: '0' })
  const ann = await signIn(server, 'Ann Example')
  const box = await createBox(server, ann)
  const { fileId } = await upload(server, ann, box, pattern(1000))
  await saved(server, ann, fileId)
  await savedUpload(server, ann, pattern(1000))
  assert.equal((await text(server, ann, box, 100)).status, 201)
  assert.equal(await vaultSpace(server, ann), 2000)
  assert.deepEqual(await boxSpaces(server, ann), { [box]: 1100 })
})

test('an enforced quota', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_QUOTA_MB: '1', HOLDFAST_QUOTA_ENFORCED: '1' })
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const box = await createOpenBox(server, ann, bob)
  const put = (who: SignedIn, size: number) =>
    call(server, 'POST', `/boxes/${box}/encrypted-files`, {
      as: who,
      body: uploadForm(pattern(size)),
    })
  const big = await upload(server, bob, box, pattern(MIB - 300_000))

  await t.test('is what is configured', async () => {
    const [quotum] = (await quotaOf(server, ann)).body as { value: number }[]
    assert.equal(quotum?.value, MIB)
  })

  await t.test('is the creator’s, also when another writes into the box', async () => {
    assert.deepEqual(outcome(await put(bob, 300_001)), USED_UP)
    assert.equal((await put(bob, 200_000)).status, 201)
    assert.deepEqual(await boxSpaces(server, ann), { [box]: MIB - 100_000 })
  })

  await t.test('counts saved files as well', async () => {
    assert.deepEqual(outcome(await save(server, ann, big.fileId)), USED_UP)
    assert.deepEqual(outcome(await saveUpload(server, ann, pattern(100_001))), USED_UP)
    assert.deepEqual(await listSaved(server, ann), [])
    await savedUpload(server, ann, pattern(99_000))
  })

  await t.test('is full to the last byte and no further', async () => {
    const message = idOf(await text(server, bob, box, 400))
    assert.deepEqual(outcome(await text(server, bob, box, 601)), USED_UP)
    assert.deepEqual(outcome(await edit(server, bob, box, message, 1001)), USED_UP)
    assert.equal((await edit(server, bob, box, message, 1000)).status, 201)
    assert.deepEqual(outcome(await text(server, bob, box, 1)), USED_UP)
    assert.deepEqual(outcome(await put(bob, 1)), USED_UP)
    assert.deepEqual(outcome(await saveUpload(server, ann, pattern(1))), USED_UP)
    assert.equal((await edit(server, bob, box, message, 999)).status, 201)
    assert.equal((await text(server, ann, box, 1)).status, 201)
  })

  await t.test('of one person does not bind another', async () => {
    await saved(server, bob, big.fileId)
    const own = await createBox(server, bob)
    assert.equal((await text(server, bob, own, 100)).status, 201)
  })

  await t.test('refuses without a trace', async () => {
    assert.equal((await boxSpaces(server, ann))[box], MIB - 99_000)
    assert.equal(await vaultSpace(server, ann), 99_000)
    const answer = await call(server, 'GET', `/boxes/${box}/files`, { as: ann })
    const inBox = (answer.body as { content: { encrypted_file_id: string } }[]).map(
      ({ content }) => content.encrypted_file_id,
    )
    assert.equal(inBox.length, 2)
    const savedFiles = [...(await listSaved(server, ann)), ...(await listSaved(server, bob))]
    const known = new Set([...inBox, ...savedFiles.map((file) => file.encrypted_file_id)])
    assert.deepEqual(new Set(await filesWithBytes(server)), known)
  })

  await t.test('lets people read and make room', async () => {
    assert.equal((await download(server, ann, big.fileId)).status, 200)
    assert.equal((await deleteMessage(server, ann, box, big.eventId)).status, 201)
    assert.equal((await put(bob, 300_000)).status, 201)
  })
})

test('an enforced quota holds when several uploads come at once', async (t) => {
  const server = await startTestServer(t, { HOLDFAST_QUOTA_MB: '1', HOLDFAST_QUOTA_ENFORCED: '1' })
  const ann = await signIn(server, 'Ann Example')
  const size = 300_000
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => saveUpload(server, ann, pattern(size))),
  )
  const statuses = answers.map(({ status }) => status).sort((a, b) => a - b)
  assert.deepEqual(statuses, [201, 201, 201, 413, 413, 413])
  assert.equal(await vaultSpace(server, ann), 3 * size)
  assert.equal((await filesWithBytes(server)).length, 3)
})

test('GET /version tells the version to anybody', async (t) => {
  const server = await startTestServer(t)
  const answer = await call(server, 'GET', '/version')
  assert.deepEqual(outcome(answer), { status: 200, body: { version: manifest.version } })
  const ann = await signIn(server, 'Ann Example', 1)
  assert.deepEqual(outcome(await call(server, 'GET', '/version', { as: ann })), outcome(answer))
})
