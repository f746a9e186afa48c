import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { call, outcome, pick, refusal } from '../../helpers/http.ts'
import { createOpenBox, createSharedBox, deleteMessage, post } from '../../helpers/saved-files.ts'
import {
  PUBLIC_KEY,
  type SignedIn,
  startTestServer,
  type TestServer,
  upload,
} from '../../helpers/server.ts'
import { rowsOf } from '../../helpers/store.ts'

const OTHER_KEY = `${PUBLIC_KEY.slice(0, -1)}0`
const NOT_OWN = refusal(403, 'not_defined', "only one's own text can be edited")
const GONE = refusal(410, 'not_defined', 'deleted already')
const NO_MEMBER = refusal(403, 'not_defined', 'not a member of this box', {
  reason: 'not_member',
  sender_id: 'forbidden',
})

interface EventJson {
  id: string
  type: string
  content: Record<string, unknown> | null
  server_event_created_at: string
}

async function sendText(
  server: TestServer,
  who: SignedIn,
  box: string,
  encrypted = 'Zmlyc3Q',
): Promise<EventJson> {
  const content = { encrypted, public_key: PUBLIC_KEY }
  const answer = await post(server, who, box, { type: 'msg.text', content })
  assert.equal(answer.status, 201, `${answer.bytes}`)
  return answer.body as EventJson
}

/** An edit as clients send it. */
function edit(referrerId: string, encrypted = 'c2Vjb25k'): Record<string, unknown> {
  const content = { new_encrypted: encrypted, new_public_key: OTHER_KEY }
  return { type: 'msg.edit', referrer_id: referrerId, content }
}

async function events(server: TestServer, who: SignedIn, box: string): Promise<EventJson[]> {
  return (await call(server, 'GET', `/boxes/${box}/events`, { as: who })).body as EventJson[]
}

test('editing one’s own text', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob, box } = await createSharedBox(server)
  const first = await sendText(server, bob, box)
  const later = await sendText(server, ann, box, 'bGF0ZXI')
  server.clock.advance(60_000)
  const editedAt = new Date(server.clock.now).toISOString()

  await t.test('answers the edit, which refers to the text', async () => {
    const answer = await post(server, bob, box, edit(first.id))
    const { id } = answer.body as EventJson
    assert.notEqual(id, first.id)
    assert.deepEqual(outcome(answer), {
      status: 201,
      body: {
        type: 'msg.edit',
        content: { new_encrypted: 'c2Vjb25k', new_public_key: OTHER_KEY },
        box_id: box,
        id,
        server_event_created_at: editedAt,
        referrer_id: first.id,
        sender: {
          id: bob.id,
          display_name: 'Bob Example',
          avatar_url: null,
          identifier_value: bob.email,
          identifier_kind: 'email',
        },
      },
    })
  })

  await t.test('the text stands in its place with its new wording', async () => {
    const content = { encrypted: 'c2Vjb25k', public_key: OTHER_KEY, last_edited_at: editedAt }
    for (const who of [ann, bob]) {
      const [newest, edited, ...others] = await events(server, who, box)
      assert.equal(newest?.id, later.id)
      assert.deepEqual(newest.content, { encrypted: 'bGF0ZXI', public_key: PUBLIC_KEY })
      assert.equal(edited?.id, first.id)
      assert.equal(edited.server_event_created_at, first.server_event_created_at)
      assert.deepEqual(edited.content, content)
      assert.ok(others.every(({ type }) => !type.startsWith('msg.')))
    }
  })

  await t.test('an edit is no entry of the list, no new event and not the last one', async () => {
    const count = await call(server, 'HEAD', `/boxes/${box}/events`, { as: ann })
    assert.equal(
      count.headers.get('x-total-count'),
      String((await events(server, ann, box)).length),
    )
    const path = `/boxes/${box}/new-events-count/ack`
    await call(server, 'PUT', path, { as: ann, json: { identity_id: ann.id } })
    await post(server, bob, box, edit(first.id, 'dGhpcmQ'))
    const shown = (await call(server, 'GET', `/boxes/${box}`, { as: ann })).body as {
      events_count: number
      last_event: EventJson
    }
    assert.equal(shown.events_count, 0)
    assert.equal(shown.last_event.id, later.id)
  })

  await t.test('it can be edited again: the last wording counts', async () => {
    server.clock.advance(60_000)
    await post(server, bob, box, edit(first.id, 'Zm91cnRo'))
    const [, edited] = await events(server, bob, box)
    assert.deepEqual(edited?.content, {
      encrypted: 'Zm91cnRo',
      public_key: OTHER_KEY,
      last_edited_at: new Date(server.clock.now).toISOString(),
    })
  })

  await t.test('the last event of a box shows the new wording too', async () => {
    await post(server, ann, box, edit(later.id, 'bmV3ZXN0'))
    const shown = (await call(server, 'GET', `/boxes/${box}`, { as: bob })).body as {
      last_event: EventJson
    }
    assert.equal(shown.last_event.content?.encrypted, 'bmV3ZXN0')
  })

  await t.test('the wording is still there after a restart', async () => {
    const before = await events(server, ann, box)
    const again = await server.restart()
    assert.deepEqual(await events(again, ann, box), before)
  })
})

test('who may edit what', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob, cid, box } = await createSharedBox(server)
  const text = await sendText(server, bob, box)
  const file = await upload(server, bob, box)
  const otherBox = await createOpenBox(server, ann, bob)
  const elsewhere = await sendText(server, bob, otherBox)
  const creation = (await events(server, ann, box)).at(-1)

  const unknown = refusal(404, 'not_defined', 'no such event', { referrer_id: 'not_found' })
  const notAMessage = refusal(403, 'not_defined', 'not a message')
  for (const [what, who, referrerId, expected] of [
    ['another’s text, also for the creator of the box', ann, text.id, NOT_OWN],
    ['one’s own file', bob, file.eventId, NOT_OWN],
    ['what is no message', ann, creation?.id ?? '', notAMessage],
    ['a text of another box', bob, elsewhere.id, unknown],
    ['what is not there', bob, randomUUID(), unknown],
    ['a text of a box that one is no member of', cid, text.id, NO_MEMBER],
  ] as const) {
    await t.test(`${what} cannot be edited`, async () => {
      const answer = await post(server, who, box, edit(referrerId))
      assert.deepEqual(outcome(answer), expected)
    })
  }

  await t.test('who has left cannot edit what she wrote, who is back can', async () => {
    await server.core.boxes.leave(bob.id, box)
    assert.deepEqual(outcome(await post(server, bob, box, edit(text.id))), NO_MEMBER)
    await server.core.boxes.join(bob.id, box)
    assert.equal((await post(server, bob, box, edit(text.id, 'YmFjaw'))).status, 201)
  })

  const malformed = (details: Record<string, string>, words: string) =>
    refusal(400, 'not_defined', words, details)
  for (const [what, event, expected] of [
    [
      'no referrer_id',
      { ...edit(text.id), referrer_id: undefined },
      malformed({ referrer_id: 'required' }, 'referrer_id: cannot be blank.'),
    ],
    [
      'a referrer_id that is no UUID',
      edit('text'),
      malformed({ referrer_id: 'malformed' }, 'referrer_id: must be in a valid format.'),
    ],
    [
      'no content',
      { ...edit(text.id), content: undefined },
      malformed({ content: 'required' }, 'content: cannot be blank.'),
    ],
    [
      'the fields of a new text',
      { ...edit(text.id), content: { encrypted: 'YQ', public_key: PUBLIC_KEY } },
      malformed(
        { new_encrypted: 'required', new_public_key: 'required' },
        'new_encrypted: cannot be blank; new_public_key: cannot be blank.',
      ),
    ],
    [
      'an empty text',
      edit(text.id, ''),
      malformed({ new_encrypted: 'required' }, 'new_encrypted: cannot be blank.'),
    ],
    [
      'text that is not encoded',
      edit(text.id, 'not base64!'),
      malformed({ new_encrypted: 'malformed' }, 'new_encrypted: must be in a valid format.'),
    ],
  ] as const) {
    await t.test(`${what} is refused`, async () => {
      assert.deepEqual(outcome(await post(server, bob, box, event)), expected)
    })
  }

  await t.test('nothing of this changed the text', async () => {
    const shown = (await events(server, ann, box)).find(({ id }) => id === text.id)
    assert.equal(shown?.content?.encrypted, 'YmFjaw')
  })
})

test('a deleted text', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob, box } = await createSharedBox(server)
  const text = await sendText(server, bob, box)
  await post(server, bob, box, edit(text.id))
  server.clock.advance(1000)
  const answer = await deleteMessage(server, ann, box, text.id)

  await t.test('was deleted by an event without content', async () => {
    assert.equal(answer.status, 201)
    const { content, referrer_id } = answer.body as Record<string, unknown>
    assert.deepEqual({ content, referrer_id }, { content: null, referrer_id: text.id })
    assert.deepEqual(pick(answer.headers, 'content-type'), {
      'content-type': 'application/json; charset=utf-8',
    })
  })

  await t.test('is gone: it cannot be edited or deleted again, by anybody', async () => {
    for (const who of [ann, bob]) {
      assert.deepEqual(outcome(await post(server, who, box, edit(text.id))), GONE)
      assert.deepEqual(outcome(await deleteMessage(server, who, box, text.id)), GONE)
    }
  })

  await t.test('shows by whom and when, and nothing of any wording', async () => {
    const [shown] = await events(server, bob, box)
    assert.equal(shown?.id, text.id)
    assert.deepEqual(shown.content, {
      deleted: {
        at_time: new Date(server.clock.now).toISOString(),
        by_identity: {
          id: ann.id,
          display_name: 'Ann Example',
          avatar_url: null,
          identifier_value: '',
          identifier_kind: '',
        },
      },
    })
  })

  await t.test('has left no wording in the database either', async () => {
    const kept = await rowsOf(
      server.config,
      `select type from box_event where sealed is not null and (id = ? or referrer_id = ?)`,
      text.id,
      text.id,
    )
    assert.deepEqual(kept, [])
  })
})

test('of several edits only the last wording is in the database', async (t) => {
  const server = await startTestServer(t)
  const { bob, box } = await createSharedBox(server)
  const text = await sendText(server, bob, box)
  for (const wording of ['b25l', 'dHdv', 'dGhyZWU']) {
    await post(server, bob, box, edit(text.id, wording))
  }
  const kept = await rowsOf(
    server.config,
    `select type, case when sealed is null then 0 else 1 end as kept from box_event
      where id = ? or referrer_id = ? order by n`,
    text.id,
    text.id,
  )
  assert.deepEqual(
    kept.map((row) => ({ ...row })),
    [
      { type: 'msg.text', kept: 1 },
      { type: 'msg.edit', kept: 0 },
      { type: 'msg.edit', kept: 0 },
      { type: 'msg.edit', kept: 1 },
    ],
  )
})

test('an edit and a deletion at once: the text is deleted in the end', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob, box } = await createSharedBox(server)
  for (let round = 0; round < 20; round += 1) {
    const text = await sendText(server, bob, box)
    const [edited, deleted] = await Promise.all([
      post(server, bob, box, edit(text.id)),
      deleteMessage(server, ann, box, text.id),
    ])
    assert.ok(edited.status === 201 || edited.status === 410, `${edited.status}`)
    assert.equal(deleted.status, 201)
    const [shown] = await events(server, bob, box)
    assert.deepEqual(Object.keys(shown?.content ?? {}), ['deleted'])
  }
})
