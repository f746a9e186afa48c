import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { call, countBoxes, outcome, refusal } from '../../helpers/http.ts'
import { createBox, PUBLIC_KEY, signIn, startTestServer } from '../../helpers/server.ts'

const UNKNOWN = refusal(404, 'not_defined', 'no such share', { other_share_hash: 'not_found' })

for (const name of ['other_share_hash', 'invitation_share_hash']) {
  test(`a box is made with a key share whose hash is called ${name}`, async (t) => {
    const server = await startTestServer(t)
    const ann = await signIn(server, 'Ann Example')
    const key_share = {
      misakey_share: 'half',
      [name]: 'hash',
      encrypted_invitation_key_share: 'sealed',
    }
    const json = { title: 'Shared', public_key: PUBLIC_KEY, key_share }
    const made = await call(server, 'POST', '/boxes', { as: ann, json })
    assert.equal(made.status, 201)
    const { id: box_id, owner_org_id } = made.body as { id: string; owner_org_id: string }
    const share = await call(server, 'GET', '/box-key-shares/hash', { as: ann })
    const expected = { other_share_hash: 'hash', share: 'half', box_id }
    assert.deepEqual(outcome(share), { status: 200, body: expected })
    const invitation = await call(
      server,
      'GET',
      `/box-key-shares/encrypted-invitation-key-share?box_id=${box_id}`,
      { as: ann },
    )
    assert.deepEqual(outcome(invitation), { status: 200, body: 'sealed' })
    // Whoever has the link may see what it leads to.
    const seen = await call(server, 'GET', `/boxes/${box_id}/public?other_share_hash=hash`)
    assert.deepEqual(outcome(seen), {
      status: 200,
      body: {
        title: 'Shared',
        creator: {
          id: ann.id,
          display_name: 'Ann Example',
          avatar_url: null,
          identifier_value: '',
          identifier_kind: '',
        },
        owner_org_id,
      },
    })
  })
}

test('a key share without a hash, or with one that is taken, makes no box', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const make = async (key_share: object) => {
    const json = { title: 'Shared', public_key: PUBLIC_KEY, key_share }
    return outcome(await call(server, 'POST', '/boxes', { as: ann, json }))
  }
  assert.deepEqual(
    await make({ misakey_share: 'half', encrypted_invitation_key_share: 'sealed' }),
    refusal(400, 'not_defined', 'other_share_hash: cannot be blank.', {
      other_share_hash: 'required',
    }),
  )
  assert.equal((await make({ misakey_share: 'half', other_share_hash: 'hash' })).status, 201)
  assert.deepEqual(
    await make({ misakey_share: 'half', other_share_hash: 'hash' }),
    refusal(409, 'not_defined', 'there is a share of this hash already', {
      other_share_hash: 'conflict',
    }),
  )
  assert.equal(await countBoxes(server, ann), 1)
})

test('what is public of a box is told only for a share of that box', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const box = await createBox(server, ann)
  const other = await createBox(server, ann)
  const add = { misakeyShare: 'half', encryptedInvitationKeyShare: '' }
  await server.core.boxKeyShares.add(ann.id, box, { hash: 'mine', ...add })
  const look = async (id: string, query: string) =>
    outcome(await call(server, 'GET', `/boxes/${id}/public${query}`))
  assert.equal((await look(box, '?other_share_hash=mine')).status, 200)
  assert.deepEqual(await look(box, '?other_share_hash=unknown'), UNKNOWN)
  for (const id of [other, randomUUID()]) {
    assert.deepEqual(
      await look(id, '?other_share_hash=mine'),
      refusal(403, 'not_defined', 'the share of another box', { other_share_hash: 'invalid' }),
    )
  }
  assert.deepEqual(
    await look(box, ''),
    refusal(400, 'not_defined', 'other_share_hash: cannot be blank.', {
      other_share_hash: 'required',
    }),
  )
})

test('members add shares, and read them by hashes of any length', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const box_id = await createBox(server, ann)
  const add = async (as: typeof ann, other_share_hash: string, more = {}) => {
    const json = { share: 'half', other_share_hash, box_id, ...more }
    return outcome(await call(server, 'POST', '/box-key-shares', { as, json }))
  }
  const get = async (as: typeof ann, hash: string) =>
    outcome(await call(server, 'GET', `/box-key-shares/${hash}`, { as }))
  const long = 'h'.repeat(500)
  for (const hash of ['h', long]) {
    const body = { share: 'half', other_share_hash: hash, box_id }
    assert.deepEqual(await add(ann, hash), { status: 201, body })
    assert.deepEqual(await get(ann, hash), { status: 200, body })
  }
  assert.equal((await add(ann, 'h')).status, 409)
  const stranger = refusal(403, 'not_defined', 'not a member of this box', {
    reason: 'not_member',
    sender_id: 'forbidden',
  })
  assert.deepEqual(await add(bob, 'other'), stranger)
  assert.deepEqual(await get(bob, 'h'), stranger)
  assert.deepEqual(await get(ann, 'unknown'), UNKNOWN)
  const wrong = await add(ann, 'a b', { share: undefined, box_id: 'x' })
  assert.deepEqual((wrong.body as { details: unknown }).details, {
    box_id: 'malformed',
    other_share_hash: 'malformed',
    share: 'required',
  })
  // None of the shares is for invitations.
  const path = `/box-key-shares/encrypted-invitation-key-share?box_id=${box_id}`
  assert.equal((await call(server, 'GET', path, { as: ann })).status, 404)
})
