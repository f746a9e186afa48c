import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { call, countBoxes, outcome, refusal } from '../../helpers/http.ts'
import {
  createBox,
  PUBLIC_KEY,
  type SignedIn,
  signIn,
  signInAgain,
  startTestServer,
  type TestServer,
  upload,
} from '../../helpers/server.ts'
import { storedFiles } from '../../helpers/stored.ts'

const NOW = '2026-01-15T12:00:00.000Z'
const NOT_MEMBER = refusal(403, 'not_defined', 'not a member of this box', {
  reason: 'not_member',
  sender_id: 'forbidden',
})

interface BoxBody {
  id: string
  title: string
  events_count: number
  last_event: { id: string; type: string }
}

function personOf({ id, email }: SignedIn, name: string, visible = true) {
  return {
    id,
    display_name: name,
    avatar_url: null,
    identifier_value: visible ? email : '',
    identifier_kind: visible ? 'email' : '',
  }
}

async function join(server: TestServer, creator: SignedIn, box: string, ...people: SignedIn[]) {
  await server.core.boxes.setAccessMode(creator.id, box, 'public')
  for (const { id } of people) await server.core.boxes.join(id, box)
}

async function post(server: TestServer, as: SignedIn, json: unknown) {
  return call(server, 'POST', '/boxes', { as, json })
}

test('a new box is answered whole, and read again the same', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const created = await post(server, ann, { title: 'Tide tables', public_key: PUBLIC_KEY })
  assert.equal(created.status, 201)
  assert.equal(created.headers.get('content-type'), 'application/json; charset=utf-8')
  const box = created.body as BoxBody & { owner_org_id: string }
  assert.equal(box.owner_org_id, await server.core.identities.selfOrganisation())
  assert.deepEqual(box, {
    id: box.id,
    server_created_at: NOW,
    owner_org_id: box.owner_org_id,
    datatag_id: null,
    public_key: PUBLIC_KEY,
    title: 'Tide tables',
    access_mode: 'limited',
    subject: null,
    creator: personOf(ann, 'Ann Example'),
    last_event: {
      type: 'create',
      content: { owner_org_id: box.owner_org_id, public_key: PUBLIC_KEY, title: 'Tide tables' },
      box_id: box.id,
      id: box.last_event.id,
      server_event_created_at: NOW,
      referrer_id: null,
      sender: personOf(ann, 'Ann Example'),
    },
    events_count: 0,
    settings: { identity_id: ann.id, box_id: box.id, muted: false },
  })
  const again = await call(server, 'GET', `/boxes/${box.id}`, { as: ann })
  assert.deepEqual(outcome(again), { status: 200, body: box })
})

test('a box may have a prefixed public key, and a title of 50 characters of any kind', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const title = '🪸'.repeat(50)
  const public_key = `com.misakey.aes-rsa-enc:${PUBLIC_KEY}`
  const created = await post(server, ann, { title, public_key })
  assert.equal(created.status, 201)
  assert.equal((created.body as BoxBody).title, title)
})

test('every bad field of a new box is told at once', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const required = refusal(
    400,
    'not_defined',
    'public_key: cannot be blank; title: cannot be blank.',
    { public_key: 'required', title: 'required' },
  )
  for (const json of [{}, { title: '', public_key: '' }, { id: randomUUID() }]) {
    assert.deepEqual(outcome(await post(server, ann, json)), required)
  }
  assert.deepEqual(outcome(await call(server, 'POST', '/boxes', { as: ann })), required)

  const json = { title: 'a'.repeat(51), public_key: 'a+b', owner_org_id: 'x', key_share: {} }
  assert.deepEqual(
    outcome(await post(server, ann, json)),
    refusal(
      400,
      'not_defined',
      'misakey_share: cannot be blank; owner_org_id: must be in a valid format; ' +
        'public_key: must be in a valid format; title: the length must be no more than 50.',
      {
        misakey_share: 'required',
        owner_org_id: 'malformed',
        public_key: 'malformed',
        title: 'malformed',
      },
    ),
  )
  for (const body of [[], 'text', 12, { title: 12, public_key: PUBLIC_KEY }]) {
    assert.equal((await post(server, ann, body)).status, 400, JSON.stringify(body))
  }
  assert.equal(await countBoxes(server, ann), 0)
})

test('only who leads a company makes boxes for it', async (t) => {
  const server = await startTestServer(t)
  const [ann, bob, eve] = await Promise.all(
    ['Ann Example', 'Bob Example', 'Eve Example'].map((name) => signIn(server, name)),
  )
  if (!ann || !bob || !eve) throw new Error('three people')
  const { id: owner_org_id } = await server.core.companies.create({
    name: 'Kelp',
    owners: [ann.id],
    managers: [],
    members: [bob.id],
  })
  const json = { title: 'Ours', public_key: PUBLIC_KEY, owner_org_id }
  const made = await post(server, ann, json)
  assert.deepEqual(
    [made.status, (made.body as { owner_org_id: string }).owner_org_id],
    [201, owner_org_id],
  )
  const listed = await call(server, 'GET', `/boxes/joined?owner_org_id=${owner_org_id}`, {
    as: ann,
  })
  assert.deepEqual(listed.body, [made.body])
  assert.equal(await countBoxes(server, ann), 0, "only people's own unless a company is named")
  const forbidden = refusal(403, 'not_defined', 'not a manager of the owner', {
    owner_org_id: 'forbidden',
  })
  assert.deepEqual(outcome(await post(server, bob, json)), forbidden)
  assert.deepEqual(outcome(await post(server, eve, json)), forbidden)
  const unknown = { ...json, owner_org_id: randomUUID() }
  assert.deepEqual(outcome(await post(server, ann, unknown)), forbidden)
})

test('what a stranger is told of a box depends on whether she could join', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const box = await createBox(server, ann)
  const get = async (id: string) => outcome(await call(server, 'GET', `/boxes/${id}`, { as: bob }))

  const closed = refusal(403, 'not_defined', 'this box is closed', { reason: 'no_access' })
  assert.deepEqual(await get(box), closed)
  await server.core.boxes.setAccessMode(ann.id, box, 'public')
  assert.deepEqual(await get(box), NOT_MEMBER)
  assert.deepEqual(await get(randomUUID()), refusal(403, 'not_defined', 'no such box'))
  for (const id of ['x', randomUUID().replace(/(?<=^.{14})4/, '1'), `${randomUUID()}0`, '%00']) {
    assert.deepEqual(
      await get(id),
      refusal(400, 'not_defined', 'id: must be in a valid format.', { id: 'malformed' }),
    )
  }
})

test('routes for members answer strangers alike, whether the box is open, closed or not there', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const open = await createBox(server, ann)
  await server.core.boxes.setAccessMode(ann.id, open, 'public')
  const closed = await createBox(server, ann)
  for (const id of [open, closed, randomUUID()]) {
    for (const [method, path, json] of [
      ['GET', 'members'],
      ['GET', 'events'],
      ['GET', 'files'],
      ['PUT', 'new-events-count/ack', { identity_id: bob.id }],
    ] as const) {
      const answer = await call(server, method, `/boxes/${id}/${path}`, { as: bob, json })
      assert.deepEqual(outcome(answer), NOT_MEMBER, `${method} ${path}`)
    }
    const json = { type: 'msg.text', content: { encrypted: 'AA', public_key: 'AA' } }
    const posted = await call(server, 'POST', `/boxes/${id}/events`, { as: bob, json })
    const isThere = id === open || id === closed
    assert.deepEqual(
      outcome(posted),
      isThere ? NOT_MEMBER : refusal(403, 'not_defined', 'no such box'),
    )
    for (const path of ['events', 'files']) {
      const counted = await call(server, 'HEAD', `/boxes/${id}/${path}`, { as: bob })
      assert.deepEqual([counted.status, counted.headers.get('x-total-count')], [403, null])
    }
  }
})

test('joined boxes come with the newest event first, in pages, and are counted', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const ids: string[] = []
  for (let n = 1; n <= 12; n += 1) ids.unshift(await createBox(server, ann, `Box ${n}`))
  const shared = await createBox(server, bob, 'Shared')
  await createBox(server, bob, 'Not shared')
  await join(server, bob, shared, ann)
  // The oldest box comes to the front by an event.
  const oldest = ids.pop() ?? ''
  await server.core.boxMessages.sendText(ann.id, oldest, { encrypted: 'AA', publicKey: 'AA' })
  const order = [oldest, shared, ...ids]

  const list = async (query = '') => {
    const answer = await call(server, 'GET', `/boxes/joined${query}`, { as: ann })
    assert.equal(answer.status, 200)
    return (answer.body as BoxBody[]).map(({ id }) => id)
  }
  assert.deepEqual(await list(), order.slice(0, 10))
  assert.deepEqual(await list('?limit=0'), order.slice(0, 10), 'here 0 is 10')
  assert.deepEqual(await list('?limit=100'), order)
  assert.deepEqual(await list('?offset=10'), order.slice(10))
  assert.deepEqual(await list('?offset=1&limit=2'), order.slice(1, 3))
  assert.deepEqual(await list('?offset=99'), [])

  const self = await server.core.identities.selfOrganisation()
  assert.deepEqual(await list(`?owner_org_id=${self}&limit=100`), order)
  assert.deepEqual(await list(`?owner_org_id=${randomUUID()}`), [])
  assert.deepEqual(await list('?datatag_id=&limit=100'), order, 'boxes without a tag')
  assert.deepEqual(await list(`?datatag_id=${randomUUID()}`), [])

  for (const [query, count] of [
    ['', '13'],
    ['?offset=5&limit=2', '13'],
    [`?owner_org_id=${randomUUID()}`, '0'],
    [`?datatag_id=${randomUUID()}`, '0'],
  ] as const) {
    const counted = await call(server, 'HEAD', `/boxes/joined${query}`, { as: ann })
    assert.deepEqual([counted.status, counted.headers.get('x-total-count')], [204, count])
  }
})

test('a page of joined boxes is asked for with whole numbers from 0', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const get = async (query: string) =>
    outcome(await call(server, 'GET', `/boxes/joined?${query}`, { as: ann }))
  assert.deepEqual(
    await get('limit=ten'),
    refusal(400, 'query', 'limit: must be in a valid format.', { limit: 'malformed' }),
  )
  assert.deepEqual(
    await get('offset=1.5&limit=x'),
    refusal(400, 'query', 'limit: must be in a valid format; offset: must be in a valid format.', {
      limit: 'malformed',
      offset: 'malformed',
    }),
  )
  assert.deepEqual(
    await get('offset=-1'),
    refusal(400, 'not_defined', 'offset: must be no less than 0.', { offset: 'invalid' }),
  )
  assert.deepEqual(
    await get('owner_org_id=x'),
    refusal(400, 'not_defined', 'owner_org_id: must be in a valid format.', {
      owner_org_id: 'malformed',
    }),
  )
})

test('only the creator sees how members are reached', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const box = await createBox(server, ann)
  await join(server, ann, box, bob)
  const members = async (as: SignedIn) => {
    const { body } = await call(server, 'GET', `/boxes/${box}/members`, { as })
    return new Map((body as { id: string }[]).map((member) => [member.id, member]))
  }
  assert.deepEqual(
    await members(ann),
    new Map([
      [ann.id, personOf(ann, 'Ann Example')],
      [bob.id, personOf(bob, 'Bob Example')],
    ]),
  )
  assert.deepEqual(
    await members(bob),
    new Map([
      [ann.id, personOf(ann, 'Ann Example', false)],
      [bob.id, personOf(bob, 'Bob Example')],
    ]),
  )
  const seen = await call(server, 'GET', `/boxes/${box}`, { as: bob })
  const { creator, last_event } = seen.body as { creator: unknown; last_event: { sender: unknown } }
  assert.deepEqual(creator, personOf(ann, 'Ann Example', false))
  assert.deepEqual(last_event.sender, personOf(bob, 'Bob Example'))
  const events = await call(server, 'GET', `/boxes/${box}/events`, { as: bob })
  assert.ok(!String(events.bytes).includes(ann.email))
})

test("new events are others' since the last acknowledgement", async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const box = await createBox(server, ann)
  await join(server, ann, box, bob)
  const count = async (as: SignedIn) =>
    ((await call(server, 'GET', `/boxes/${box}`, { as })).body as BoxBody).events_count
  const acknowledge = (as: SignedIn, identity_id: string) =>
    call(server, 'PUT', `/boxes/${box}/new-events-count/ack`, { as, json: { identity_id } })
  const say = () =>
    server.core.boxMessages.sendText(bob.id, box, { encrypted: 'AA', publicKey: 'AA' })

  await say()
  assert.equal(await count(ann), 2, 'that he joined, and what he said')
  assert.deepEqual(
    outcome(await acknowledge(bob, ann.id)),
    refusal(403, 'not_defined', 'another identity', { identity_id: 'forbidden' }),
  )
  assert.equal(await count(ann), 2)
  assert.deepEqual(outcome(await acknowledge(ann, ann.id)), { status: 204, body: undefined })
  assert.equal(await count(ann), 0)
  await say()
  assert.equal(await count(ann), 1)
  assert.deepEqual(
    outcome(await acknowledge(ann, 'x')),
    refusal(400, 'not_defined', 'identity_id: must be in a valid format.', {
      identity_id: 'malformed',
    }),
  )
})

test('a member mutes a box for herself alone', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const box = await createBox(server, ann)
  await join(server, ann, box, bob)
  const path = ({ id }: { id: string }) => `/box-users/${id}/boxes/${box}/settings`
  const muted = async (as: SignedIn) =>
    outcome(await call(server, 'GET', path(as), { as })).body as object
  assert.deepEqual(await muted(ann), { identity_id: ann.id, box_id: box, muted: false })
  const set = await call(server, 'PUT', path(ann), { as: ann, json: { muted: true } })
  assert.deepEqual(outcome(set), { status: 204, body: undefined })
  assert.deepEqual(await muted(ann), { identity_id: ann.id, box_id: box, muted: true })
  assert.deepEqual(await muted(bob), { identity_id: bob.id, box_id: box, muted: false })

  const forbidden = refusal(403, 'not_defined', 'another identity', { id: 'forbidden' })
  assert.deepEqual(outcome(await call(server, 'GET', path(bob), { as: ann })), forbidden)
  const change = { as: ann, json: { muted: true } }
  assert.deepEqual(outcome(await call(server, 'PUT', path(bob), change)), forbidden)
  for (const json of [{}, { muted: 'true' }]) {
    assert.equal((await call(server, 'PUT', path(ann), { as: ann, json })).status, 400)
  }
  const eve = await signIn(server, 'Eve Example')
  const strange = await call(server, 'PUT', path(eve), { as: eve, json: { muted: true } })
  assert.deepEqual(outcome(strange), NOT_MEMBER)
})

test('a box is deleted with a confirmation, with all it holds', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const box = await createBox(server, ann)
  const { fileId } = await upload(server, ann, box, randomBytes(100_000))
  const { fileId: small } = await upload(server, ann, box, randomBytes(100))
  assert.equal((await storedFiles(server)).length, 1)
  const remove = async (options: { json?: unknown; as?: SignedIn }, id = box) =>
    outcome(await call(server, 'DELETE', `/boxes/${id}`, { as: ann, ...options }))

  const required = refusal(400, 'not_defined', 'user_confirmation: cannot be blank.', {
    user_confirmation: 'required',
  })
  assert.deepEqual(await remove({}), required)
  assert.deepEqual(await remove({ json: {} }), required)
  for (const user_confirmation of ['yes', 'Delete', '']) {
    const malformed = refusal(400, 'not_defined', 'user_confirmation: must be a valid value.', {
      user_confirmation: 'malformed',
    })
    assert.deepEqual(await remove({ json: { user_confirmation } }), malformed)
  }
  assert.equal((await call(server, 'GET', `/boxes/${box}`, { as: ann })).status, 200)

  const confirmed = { json: { user_confirmation: 'delete' } }
  assert.deepEqual(await remove(confirmed), { status: 204, body: undefined })
  assert.deepEqual(await storedFiles(server), [])
  const gone = refusal(403, 'not_defined', 'no such box')
  assert.deepEqual(outcome(await call(server, 'GET', `/boxes/${box}`, { as: ann })), gone)
  assert.deepEqual(await remove(confirmed), gone)
  for (const id of [fileId, small]) {
    assert.deepEqual(
      outcome(await call(server, 'GET', `/encrypted-files/${id}`, { as: ann })),
      refusal(404, 'not_defined', 'no such file', { id: 'not_found' }),
    )
  }
  const french = await createBox(server, ann)
  const json = { user_confirmation: 'supprimer' }
  assert.equal((await remove({ json }, french)).status, 204)
})

test('only its creator deletes a box, with a password', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const eve = await signIn(server, 'Eve Example')
  const box = await createBox(server, ann)
  await join(server, ann, box, bob)
  const json = { user_confirmation: 'delete' }
  for (const as of [bob, eve]) {
    assert.deepEqual(
      outcome(await call(server, 'DELETE', `/boxes/${box}`, { as, json })),
      refusal(403, 'not_defined', 'not the creator'),
    )
  }
  const weak = await signInAgain(server, ann, 1)
  const weakly = await call(server, 'DELETE', `/boxes/${box}`, { as: weak, json })
  assert.equal((weakly.body as { origin: string }).origin, 'acr')
  assert.equal((await call(server, 'GET', `/boxes/${box}`, { as: bob })).status, 200)
})
