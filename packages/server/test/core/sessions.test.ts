import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { csrfTokenOf, equalSecrets, generateToken } from '../../src/core/secrets.ts'
import { openTestStore, rowsOf, type TestStore } from '../helpers/store.ts'

const DAY_MS = 24 * 3600 * 1000

describe('a session', { concurrency: 4 }, () => {
  it('is known by its token, with who and how sure', async (t) => {
    const { store, id } = await storeWithPerson(t)
    for (const acr of [1, 2, 3, 4] as const) {
      const { token, session } = await store.core.sessions.create(id, acr)
      assert.deepEqual(session, {
        id: session.id,
        identityId: id,
        acr,
        expiresAt: store.clock.now + DAY_MS,
      })
      assert.deepEqual(await store.core.sessions.authenticate(token), session)
    }
  })

  it('is known by no other token', async (t) => {
    const { store, id } = await storeWithPerson(t)
    const { token, session } = await store.core.sessions.create(id, 1)
    for (const other of [
      '',
      token.slice(1),
      `${token} `,
      token.toLowerCase(),
      session.id,
      generateToken(),
      csrfTokenOf(token),
    ]) {
      assert.equal(await store.core.sessions.authenticate(other), undefined, other)
    }
  })

  it('lasts a day to the millisecond', async (t) => {
    const { store, id } = await storeWithPerson(t)
    const { token, session } = await store.core.sessions.create(id, 1)
    store.clock.advance(DAY_MS - 1)
    assert.deepEqual(await store.core.sessions.authenticate(token), session)
    store.clock.advance(1)
    assert.equal(await store.core.sessions.authenticate(token), undefined)
  })

  it('ends when it is ended, and no other with it', async (t) => {
    const { store, id } = await storeWithPerson(t)
    const one = await store.core.sessions.create(id, 1)
    const other = await store.core.sessions.create(id, 1)
    await store.core.sessions.end(one.session.id)
    assert.equal(await store.core.sessions.authenticate(one.token), undefined)
    assert.deepEqual(await store.core.sessions.authenticate(other.token), other.session)
    await store.core.sessions.end(one.session.id)
  })

  it('leaves no row behind once it has expired and another is made', async (t) => {
    const { store, id } = await storeWithPerson(t)
    await store.core.sessions.create(id, 1)
    store.clock.advance(DAY_MS)
    const { session } = await store.core.sessions.create(id, 1)
    assert.deepEqual(
      (await rowsOf(store.config, 'select id from session')).map((row) => row.id),
      [session.id],
    )
  })

  it('is in the database without its token', async (t) => {
    const { store, id } = await storeWithPerson(t)
    const { token } = await store.core.sessions.create(id, 1)
    const row = (await rowsOf(store.config, 'select * from session'))[0]
    const text = Object.values(row ?? {})
      .map((value) => Buffer.from(value instanceof Uint8Array ? value : `${value}`))
      .map((bytes) => bytes.toString('latin1'))
      .join()
    assert.ok(!text.includes(token) && !text.includes(csrfTokenOf(token)))
  })
})

describe('a token', { concurrency: 4 }, () => {
  it('is 60 characters of base62, another each time', () => {
    const tokens = Array.from({ length: 200 }, generateToken)
    for (const token of tokens) assert.match(token, /^[0-9A-Za-z]{60}$/)
    assert.equal(new Set(tokens).size, 200)
    const letters = new Set(tokens.join(''))
    assert.equal(letters.size, 62)
  })

  it('has a CSRF token that follows from it and does not show it', () => {
    const token = generateToken()
    assert.equal(csrfTokenOf(token), csrfTokenOf(token))
    assert.match(csrfTokenOf(token), /^[\w-]{43}$/)
    assert.notEqual(csrfTokenOf(token), csrfTokenOf(generateToken()))
  })

  it('is compared whole', () => {
    assert.equal(equalSecrets('abc', 'abc'), true)
    for (const other of ['', 'ab', 'abcd', 'abd', 'ABC']) {
      assert.equal(equalSecrets('abc', other), false)
    }
  })
})

async function storeWithPerson(
  t: Parameters<typeof openTestStore>[0],
): Promise<{ store: TestStore; id: string }> {
  const store = await openTestStore(t)
  const { id } = await store.core.identities.createPerson({ email: 'a@example.com', name: 'Ann' })
  return { store, id }
}
