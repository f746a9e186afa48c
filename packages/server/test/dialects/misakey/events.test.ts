import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { call, outcome, refusal } from '../../helpers/http.ts'
import { createBox, type SignedIn, signIn, startTestServer, upload } from '../../helpers/server.ts'
import { storedFiles } from '../../helpers/stored.ts'

const NOW = '2026-01-15T12:00:00.000Z'
const TEXT = { encrypted: 'Ym9uam91cg', public_key: 'a-key' }

interface EventBody {
  id: string
  type: string
  content: unknown
}

/** An open box of Ann's that Bob is a member of and Eve is not. */
async function openBox(t: TestContext) {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const eve = await signIn(server, 'Eve Example')
  const box = await createBox(server, ann)
  await server.core.boxes.setAccessMode(ann.id, box, 'public')
  await server.core.boxes.join(bob.id, box)
  const path = `/boxes/${box}/events`

  const post = async (as: SignedIn, json: unknown) => call(server, 'POST', path, { as, json })
  const posted = async (as: SignedIn, json: unknown) => {
    const answer = await post(as, json)
    assert.equal(answer.status, 201, String(answer.bytes))
    return answer.body as EventBody
  }
  const list = async (as: SignedIn, query = '', kind = 'events') => {
    const answer = await call(server, 'GET', `/boxes/${box}/${kind}${query}`, { as })
    assert.equal(answer.status, 200)
    return answer.body as EventBody[]
  }
  const count = async (as: SignedIn, kind = 'events') => {
    const answer = await call(server, 'HEAD', `/boxes/${box}/${kind}`, { as })
    assert.equal(answer.status, 204)
    return answer.headers.get('x-total-count')
  }
  return { server, ann, bob, eve, box, path, post, posted, list, count }
}

test('a text is answered whole, with its sender as she sees herself', async (t) => {
  const { bob, ann, box, post, list } = await openBox(t)
  const answer = await post(bob, { type: 'msg.text', content: { ...TEXT, more: 'is ignored' } })
  const { id } = answer.body as EventBody
  const sender = { id: bob.id, display_name: 'Bob Example', avatar_url: null }
  const event = {
    type: 'msg.text',
    content: TEXT,
    box_id: box,
    id,
    server_event_created_at: NOW,
    referrer_id: null,
    sender: { ...sender, identifier_value: bob.email, identifier_kind: 'email' },
  }
  assert.deepEqual(outcome(answer), { status: 201, body: event })
  assert.deepEqual((await list(bob))[0], event)
  assert.deepEqual((await list(ann))[0], event, 'the creator sees how he is reached')
})

test('a member reads the whole history newest first, from before he joined too', async (t) => {
  const { ann, bob, eve, posted, list, count } = await openBox(t)
  await posted(ann, { type: 'msg.text', content: TEXT })
  await posted(eve, { type: 'member.join' })
  const types = (await list(eve)).map(({ type }) => type)
  assert.deepEqual(types, ['member.join', 'msg.text', 'member.join', 'state.access_mode', 'create'])
  assert.equal(await count(bob), '5')
})

test('events come in pages of 500, of as many as are asked for, or all at once', async (t) => {
  const { server, ann, box, list, count } = await openBox(t)
  for (let n = 1; n <= 500; n += 1) {
    await server.core.boxMessages.sendText(ann.id, box, { encrypted: `n${n}`, publicKey: 'k' })
  }
  const texts = async (query: string) =>
    (await list(ann, query)).map(({ content }) => (content as typeof TEXT | null)?.encrypted)
  assert.equal((await texts('')).length, 500)
  assert.equal((await texts('?limit=0')).length, 503)
  assert.deepEqual(await texts('?limit=2'), ['n500', 'n499'])
  assert.deepEqual(await texts('?offset=3&limit=2'), ['n497', 'n496'])
  assert.deepEqual(await texts('?offset=503'), [])
  assert.equal(await count(ann), '503')
})

test('a page of events is asked for with whole numbers from 0', async (t) => {
  const { server, ann, box } = await openBox(t)
  for (const kind of ['events', 'files']) {
    for (const [query, origin, message, detail] of [
      ['limit=x', 'query', 'must be in a valid format', 'malformed'],
      ['limit=-1', 'not_defined', 'must be no less than 0', 'invalid'],
    ] as const) {
      assert.deepEqual(
        outcome(await call(server, 'GET', `/boxes/${box}/${kind}?${query}`, { as: ann })),
        refusal(400, origin, `limit: ${message}.`, { limit: detail }),
      )
    }
  }
})

test('an event of no known type is refused, and so are those that only the server makes', async (t) => {
  const { ann, post, count } = await openBox(t)
  assert.deepEqual(
    outcome(await post(ann, {})),
    refusal(400, 'not_defined', 'type: cannot be blank.', { type: 'required' }),
  )
  for (const type of ['msg.txt', 'create', 'member.kick', 'toString', '__proto__', 'msg.file']) {
    const content = { ...TEXT, encrypted_file_id: randomUUID() }
    assert.deepEqual(
      outcome(await post(ann, { type, content })),
      refusal(400, 'not_defined', 'type: must be in a valid format.', { type: 'malformed' }),
      type,
    )
  }
  assert.equal(await count(ann), '3')
})

test('a text needs its content, whole', async (t) => {
  const { ann, post, count } = await openBox(t)
  const text = async (content?: unknown) => {
    const { status, body } = await post(ann, { type: 'msg.text', content })
    assert.equal(status, 400)
    const { origin, details } = body as { origin: string; details: unknown }
    assert.equal(origin, 'not_defined')
    return details
  }
  assert.deepEqual(await text(), { content: 'required' })
  assert.deepEqual(await text(null), { content: 'required' })
  assert.deepEqual(await text({}), { encrypted: 'required', public_key: 'required' })
  assert.deepEqual(await text({ encrypted: '', public_key: 'a b' }), {
    encrypted: 'required',
    public_key: 'malformed',
  })
  assert.deepEqual(await text({ ...TEXT, encrypted: 'padded==' }), { encrypted: 'malformed' })
  await text('text')
  await text([])
  assert.equal(await count(ann), '3')
})

test('a malformed referrer, id or body is told, and nothing happens', async (t) => {
  const { server, ann, path, post, count } = await openBox(t)
  assert.deepEqual(
    outcome(await post(ann, { type: 'msg.delete', referrer_id: 'x' })),
    refusal(400, 'not_defined', 'referrer_id: must be in a valid format.', {
      referrer_id: 'malformed',
    }),
  )
  for (const referrer_id of [undefined, null]) {
    assert.deepEqual(
      outcome(await post(ann, { type: 'msg.delete', referrer_id })),
      refusal(400, 'not_defined', 'referrer_id: cannot be blank.', { referrer_id: 'required' }),
    )
  }
  const json = { type: 'member.leave' }
  assert.equal((await call(server, 'POST', '/boxes/x/events', { as: ann, json })).status, 400)
  for (const body of [
    '{',
    '{"type":"msg.text"',
    '\u0000',
    '{"__proto__":{"type":"member.leave"}}',
  ]) {
    const headers = { 'content-type': 'application/json' }
    const answer = await call(server, 'POST', path, { as: ann, headers, body })
    const { origin, details } = answer.body as { origin: string; details: object }
    assert.deepEqual([answer.status, origin, details], [400, 'body', {}])
  }
  assert.equal(await count(ann), '3')
})

test('people join open boxes once, leave them, and may join again', async (t) => {
  const { server, ann, bob, eve, box, post, posted } = await openBox(t)
  const join = { type: 'member.join' }
  const leave = { type: 'member.leave' }
  assert.deepEqual(outcome(await post(bob, join)), refusal(409, 'not_defined', 'a member already'))
  assert.deepEqual((await posted(eve, join)).content, null)
  assert.deepEqual((await posted(eve, leave)).content, null)
  const stranger = refusal(403, 'not_defined', 'not a member of this box', {
    reason: 'not_member',
    sender_id: 'forbidden',
  })
  assert.deepEqual(outcome(await post(eve, leave)), stranger)
  await posted(eve, join)
  assert.deepEqual(
    outcome(await post(ann, leave)),
    refusal(403, 'not_defined', 'the creator cannot leave'),
  )

  await posted(ann, { type: 'state.access_mode', content: { value: 'limited' } })
  assert.equal((await call(server, 'GET', `/boxes/${box}`, { as: bob })).status, 200, 'still in')
  await posted(bob, leave)
  assert.deepEqual(
    outcome(await post(bob, join)),
    refusal(403, 'not_defined', 'this box is closed', { reason: 'no_access' }),
  )
  const nowhere = await call(server, 'POST', `/boxes/${randomUUID()}/events`, {
    as: bob,
    json: join,
  })
  assert.deepEqual(outcome(nowhere), refusal(403, 'not_defined', 'no such box'))
})

test('only the creator opens and closes a box, to one of two modes', async (t) => {
  const { server, ann, bob, eve, box, post, posted } = await openBox(t)
  const to = (value: unknown) => ({ type: 'state.access_mode', content: { value } })
  assert.deepEqual((await posted(ann, to('limited'))).content, { value: 'limited' })
  const seen = await call(server, 'GET', `/boxes/${box}`, { as: bob })
  assert.equal((seen.body as { access_mode: string }).access_mode, 'limited')
  assert.deepEqual(
    outcome(await post(bob, to('public'))),
    refusal(403, 'not_defined', 'not the creator'),
  )
  assert.equal((await post(eve, to('public'))).status, 403)
  assert.deepEqual(
    outcome(await post(ann, to('open'))),
    refusal(400, 'not_defined', 'value: must be a valid value.', { value: 'malformed' }),
  )
  assert.deepEqual(
    outcome(await post(ann, { type: 'state.access_mode', content: {} })),
    refusal(400, 'not_defined', 'value: cannot be blank.', { value: 'required' }),
  )
})

test('the creator replaces the key shares of a box', async (t) => {
  const { server, ann, bob, post, posted } = await openBox(t)
  const replace = (hash: string) => ({
    type: 'state.key_share',
    extra: { misakey_share: 'half', other_share_hash: hash, encrypted_invitation_key_share: 'new' },
  })
  assert.deepEqual((await posted(ann, replace('first'))).content, null)
  await posted(ann, replace('second'))
  assert.equal((await call(server, 'GET', '/box-key-shares/first', { as: ann })).status, 404)
  assert.equal((await call(server, 'GET', '/box-key-shares/second', { as: bob })).status, 200)
  assert.equal((await post(bob, replace('third'))).status, 403)
  const { body } = await post(ann, { type: 'state.key_share' })
  assert.deepEqual((body as { details: unknown }).details, { extra: 'required' })
})

test('a deleted message stays in its place, with who deleted it and when, and nothing more', async (t) => {
  const { server, ann, bob, box, posted, list } = await openBox(t)
  const message = await posted(bob, { type: 'msg.text', content: TEXT })
  server.clock.advance(1000)
  const deletion = await posted(ann, { type: 'msg.delete', referrer_id: message.id })
  const visible = (person: SignedIn, display_name: string, seen: boolean) => ({
    id: person.id,
    display_name,
    avatar_url: null,
    identifier_value: seen ? person.email : '',
    identifier_kind: seen ? 'email' : '',
  })
  const later = '2026-01-15T12:00:01.000Z'
  assert.deepEqual(deletion, {
    type: 'msg.delete',
    content: null,
    box_id: box,
    id: deletion.id,
    server_event_created_at: later,
    referrer_id: message.id,
    sender: visible(ann, 'Ann Example', true),
  })
  const [newest] = await list(bob)
  assert.deepEqual(newest, {
    ...message,
    content: { deleted: { at_time: later, by_identity: visible(ann, 'Ann Example', false) } },
  })
})

test('a message is deleted by its author and by the creator of the box, and by nobody else', async (t) => {
  const { ann, bob, eve, post, posted, list } = await openBox(t)
  await posted(eve, { type: 'member.join' })
  const theirs = await posted(bob, { type: 'msg.text', content: TEXT })
  const hers = await posted(ann, { type: 'msg.text', content: TEXT })
  const removal = (id: string) => ({ type: 'msg.delete', referrer_id: id })
  for (const { id } of [theirs, hers]) {
    assert.deepEqual(
      outcome(await post(eve, removal(id))),
      refusal(403, 'not_defined', 'neither the author nor the creator of the box'),
    )
  }
  assert.equal((await post(bob, removal(hers.id))).status, 403)
  assert.deepEqual((await list(bob)).slice(0, 2), [
    {
      ...hers,
      sender: {
        ...(hers as { sender?: object }).sender,
        identifier_value: '',
        identifier_kind: '',
      },
    },
    theirs,
  ])
  await posted(ann, removal(theirs.id))
  assert.deepEqual(
    outcome(await post(bob, removal(theirs.id))),
    refusal(410, 'not_defined', 'deleted already'),
  )
  const unknown = refusal(404, 'not_defined', 'no such event', { referrer_id: 'not_found' })
  assert.deepEqual(outcome(await post(ann, removal(randomUUID()))), unknown)
})

test("another box's message and what is no message cannot be deleted", async (t) => {
  const { server, ann, post, list } = await openBox(t)
  const other = await createBox(server, ann)
  const { id } = await server.core.boxMessages.sendText(ann.id, other, {
    encrypted: 'AA',
    publicKey: 'AA',
  })
  assert.deepEqual(
    outcome(await post(ann, { type: 'msg.delete', referrer_id: id })),
    refusal(404, 'not_defined', 'no such event', { referrer_id: 'not_found' }),
  )
  const [joined] = await list(ann)
  assert.deepEqual(
    outcome(await post(ann, { type: 'msg.delete', referrer_id: joined?.id })),
    refusal(403, 'not_defined', 'not a message'),
  )
})

test('files of a box are listed and counted until they are deleted, which removes their bytes', async (t) => {
  const { server, ann, bob, box, posted, list, count } = await openBox(t)
  const kept = await upload(server, bob, box, new Uint8Array(100_000))
  const going = await upload(server, bob, box, new Uint8Array(100_000))
  await posted(bob, { type: 'msg.text', content: TEXT })
  const ids = async () => (await list(ann, '', 'files')).map(({ id }) => id)
  assert.deepEqual(await ids(), [going.eventId, kept.eventId])
  assert.deepEqual(
    (await list(ann, '?offset=1&limit=1', 'files')).map(({ id }) => id),
    [kept.eventId],
  )
  assert.equal(await count(ann, 'files'), '2')
  assert.equal((await storedFiles(server)).length, 2)

  const events = await count(ann)
  await posted(ann, { type: 'msg.delete', referrer_id: going.eventId })
  assert.deepEqual(await ids(), [kept.eventId])
  assert.equal(await count(ann, 'files'), '1')
  assert.equal(await count(ann), events, 'the message itself stays in the history')
  assert.equal((await storedFiles(server)).length, 1)
  assert.deepEqual(
    outcome(await call(server, 'GET', `/encrypted-files/${going.fileId}`, { as: bob })),
    refusal(404, 'not_defined', 'no such file', { id: 'not_found' }),
  )
})
