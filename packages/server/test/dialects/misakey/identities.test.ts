import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { call, outcome, refusal } from '../../helpers/http.ts'
import { PUBLIC_KEY, signIn, signInAgain, startTestServer } from '../../helpers/server.ts'

test('somebody sees herself whole, and without an account below ACR 2', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const { accountId } = await server.core.identities.get(ann.id)
  const expected = {
    id: ann.id,
    account_id: accountId,
    identifier_value: 'ann.example@example.com',
    identifier_kind: 'email',
    display_name: 'Ann Example',
    notifications: 'minimal',
    avatar_url: null,
    color: null,
    level: 0,
    mfa_method: 'disabled',
    pubkey: null,
    non_identified_pubkey: null,
    pubkey_aes_rsa: null,
    non_identified_pubkey_aes_rsa: null,
    has_account: true,
    has_totp_secret: false,
  }
  const strongly = await call(server, 'GET', `/identities/${ann.id}`, { as: ann })
  assert.deepEqual(outcome(strongly), { status: 200, body: expected })
  const weak = await signInAgain(server, ann, 1)
  const weakly = await call(server, 'GET', `/identities/${ann.id}`, { as: weak })
  assert.deepEqual(outcome(weakly), { status: 200, body: { ...expected, account_id: null } })
})

test("another's identity is refused, known or not, to read and to change", async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const expected = refusal(403, 'not_defined', 'another identity')
  for (const id of [bob.id, randomUUID()]) {
    const path = `/identities/${id}`
    assert.deepEqual(outcome(await call(server, 'GET', path, { as: ann })), expected)
    const json = { display_name: 'Mallory' }
    assert.deepEqual(outcome(await call(server, 'PATCH', path, { as: ann, json })), expected)
  }
  assert.equal((await server.core.identities.get(bob.id)).profile.displayName, 'Bob Example')
})

test('what a change names is changed, and the rest stays', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example', 1)
  const path = `/identities/${ann.id}`
  const before = (await call(server, 'GET', path, { as: ann })).body as object
  const changes = [
    { display_name: 'Ann of the Sea', color: '#00aAff' },
    { notifications: 'frequent', pubkey: PUBLIC_KEY },
    { pubkey_aes_rsa: `com.misakey.aes-rsa-enc:${PUBLIC_KEY}`, unknown: 'is ignored' },
    { non_identified_pubkey: 'abc', non_identified_pubkey_aes_rsa: 'def' },
  ]
  for (const json of changes) {
    const answer = await call(server, 'PATCH', path, { as: ann, json })
    assert.deepEqual(outcome(answer), { status: 204, body: undefined })
  }
  const { unknown: _, ...expected } = Object.assign({}, before, ...changes)
  assert.deepEqual((await call(server, 'GET', path, { as: ann })).body, expected)
})

test('a change without a body, or of nothing, changes nothing', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const path = `/identities/${ann.id}`
  const before = await call(server, 'GET', path, { as: ann })
  assert.equal((await call(server, 'PATCH', path, { as: ann })).status, 204)
  assert.equal((await call(server, 'PATCH', path, { as: ann, json: {} })).status, 204)
  assert.deepEqual((await call(server, 'GET', path, { as: ann })).body, before.body)
})

test('every bad field of a change is told at once, and none of it happens', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const path = `/identities/${ann.id}`
  const before = await call(server, 'GET', path, { as: ann })
  const json = {
    display_name: 'An',
    notifications: 'never',
    color: 'red',
    pubkey: 'not base64!',
    non_identified_pubkey: 'fine',
  }
  assert.deepEqual(
    outcome(await call(server, 'PATCH', path, { as: ann, json })),
    refusal(
      400,
      'not_defined',
      'color: must be in a valid format; display_name: the length is too short; ' +
        'notifications: must be a valid value; pubkey: must be in a valid format.',
      {
        color: 'malformed',
        display_name: 'malformed',
        notifications: 'malformed',
        pubkey: 'malformed',
      },
    ),
  )
  const long = { display_name: 'a'.repeat(255) }
  assert.deepEqual(
    outcome(await call(server, 'PATCH', path, { as: ann, json: long })),
    refusal(400, 'not_defined', 'display_name: the length must be no more than 254.', {
      display_name: 'malformed',
    }),
  )
  const mistyped = { display_name: 12_345 }
  const answer = await call(server, 'PATCH', path, { as: ann, json: mistyped })
  assert.equal(answer.status, 400, 'numbers are not turned into text')
  assert.deepEqual((await call(server, 'GET', path, { as: ann })).body, before.body)
})

test('a public key is found by e-mail address, and who is unknown looks like who has none', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  await call(server, 'PATCH', `/identities/${bob.id}`, { as: bob, json: { pubkey: PUBLIC_KEY } })
  const find = async (value: string) =>
    outcome(await call(server, 'GET', `/identities/pubkey?identifier_value=${value}`, { as: ann }))
  assert.deepEqual(await find(bob.email), { status: 200, body: [PUBLIC_KEY] })
  assert.deepEqual(await find(bob.email.toUpperCase()), { status: 200, body: [PUBLIC_KEY] })
  for (const value of [ann.email, 'nobody@example.com', 'malformed']) {
    assert.deepEqual(await find(value), { status: 200, body: [] })
  }
  const required = refusal(400, 'not_defined', 'identifier_value: cannot be blank.', {
    identifier_value: 'required',
  })
  assert.deepEqual(await find(''), required)
  const absent = await call(server, 'GET', '/identities/pubkey', { as: ann })
  assert.deepEqual(outcome(absent), required)
})
