import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { hashToken } from '../../src/core/secrets.ts'
import { assertRefused } from '../helpers/refusals.ts'
import { openTestStore, rowsOf, type TestStore, tamper } from '../helpers/store.ts'

const MINUTE_MS = 60_000
const NOBODY = '00000000-0000-4000-8000-000000000000'

describe('an API token', { concurrency: 4 }, () => {
  it('says whose it is', async (t) => {
    const { store, id } = await storeWithPerson(t)
    const made = await store.core.tokens.create(id, 'backup')
    assert.match(made.token, /^[0-9A-Za-z]{60}$/)
    assert.deepEqual(await store.core.tokens.authenticate(made.token), {
      id: made.id,
      identityId: id,
    })
    for (const other of ['', made.id, made.token.slice(0, 59), `${made.token}x`]) {
      assert.equal(await store.core.tokens.authenticate(other), undefined)
    }
  })

  it('is listed to its owner alone, the newest first, without its text', async (t) => {
    const { store, id } = await storeWithPerson(t)
    const other = await store.core.identities.createPerson({ email: 'b@example.com', name: 'Bob' })
    const createdAt = store.clock.now
    const first = await store.core.tokens.create(id, 'first')
    store.clock.advance(1000)
    const second = await store.core.tokens.create(id, 'second', createdAt + 5000)
    await store.core.tokens.create(other.id, 'not hers')
    assert.deepEqual(await store.core.tokens.list(id), [
      {
        id: second.id,
        identityId: id,
        name: 'second',
        createdAt: createdAt + 1000,
        lastUsedAt: null,
        expiresAt: createdAt + 5000,
      },
      {
        id: first.id,
        identityId: id,
        name: 'first',
        createdAt,
        lastUsedAt: null,
        expiresAt: null,
      },
    ])
    assert.deepEqual(await store.core.tokens.list(NOBODY), [])
  })

  it('is none any more when it is revoked, once', async (t) => {
    const { store, id } = await storeWithPerson(t)
    const one = await store.core.tokens.create(id, 'one')
    const other = await store.core.tokens.create(id, 'other')
    await store.core.tokens.revoke(one.id)
    assert.equal(await store.core.tokens.authenticate(one.token), undefined)
    assert.deepEqual(
      (await store.core.tokens.list(id)).map((token) => token.name),
      ['other'],
    )
    assert.ok(await store.core.tokens.authenticate(other.token))
    await assertRefused(store.core.tokens.revoke(one.id), 'token_not_found')
    await assertRefused(store.core.tokens.revoke(NOBODY), 'token_not_found')
  })

  it('is none any more from the moment it expires', async (t) => {
    const { store, id } = await storeWithPerson(t)
    const made = await store.core.tokens.create(id, 'short', store.clock.now + 1000)
    store.clock.advance(999)
    assert.ok(await store.core.tokens.authenticate(made.token))
    store.clock.advance(1)
    assert.equal(await store.core.tokens.authenticate(made.token), undefined)
  })

  it('remembers when it was last used, to the minute: not every use is a write', async (t) => {
    const { store, id } = await storeWithPerson(t)
    const { tokens } = store.core
    const { token } = await tokens.create(id, 'backup')
    const lastUsed = async () => (await tokens.list(id))[0]?.lastUsedAt
    assert.equal(await lastUsed(), null)

    const from = store.clock.now
    await tokens.authenticate(token)
    assert.equal(await lastUsed(), from)
    store.clock.advance(MINUTE_MS - 1)
    await tokens.authenticate(token)
    assert.equal(await lastUsed(), from)
    store.clock.advance(1)
    await tokens.authenticate(token)
    assert.equal(await lastUsed(), from + MINUTE_MS)
  })

  it('is in the database as its hash alone, and its name nowhere', async (t) => {
    const { store, id } = await storeWithPerson(t)
    const { token } = await store.core.tokens.create(id, 'a name of a token')
    const [row = {}] = await rowsOf(store.config, 'select * from api_token')
    assert.deepEqual(Buffer.from(row.token_hash as Uint8Array), hashToken(token))
    const bytes = Buffer.concat(
      Object.values(row).map((value) =>
        Buffer.from(value instanceof Uint8Array ? value : `${value}`),
      ),
    )
    assert.ok(!bytes.includes(token))
    assert.ok(!bytes.includes('a name of a token'))
  })

  it('whose row was moved to somebody else is not listed as hers', async (t) => {
    const { store, id } = await storeWithPerson(t)
    const other = await store.core.identities.createPerson({ email: 'b@example.com', name: 'Bob' })
    await store.core.tokens.create(id, 'one')
    await tamper(store.config, 'update api_token set identity_id = ?', other.id)
    await assertRefused(store.core.tokens.list(other.id), 'integrity')
  })
})

async function storeWithPerson(t: TestContext): Promise<{ store: TestStore; id: string }> {
  const store = await openTestStore(t)
  const { id } = await store.core.identities.createPerson({ email: 'a@example.com', name: 'Ann' })
  return { store, id }
}
