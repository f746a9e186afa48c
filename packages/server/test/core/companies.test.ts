import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Reader } from '../../src/core/database.ts'
import { assertRefused } from '../helpers/refusals.ts'
import { openTestStore, rowsOf, type TestStore } from '../helpers/store.ts'

const NOWHERE = '00000000-0000-4000-8000-000000000000'

describe('a company', { concurrency: 4 }, () => {
  it('has owners, managers and members, and nobody else', async (t) => {
    const store = await openTestStore(t)
    const [ann, bob, cid, dan] = await people(store, 'ann', 'bob', 'cid', 'dan')
    const { id } = await store.core.companies.create({
      name: 'Example',
      owners: [ann],
      managers: [bob],
      members: [cid],
    })
    assert.deepEqual(await roles(store, id, [ann, bob, cid, dan]), [
      'owner',
      'manager',
      'member',
      undefined,
    ])
    assert.deepEqual(await roles(store, NOWHERE, [ann]), [undefined])
  })

  it('gives who stands in several roles the first of owner, manager and member', async (t) => {
    const store = await openTestStore(t)
    const [ann, bob] = await people(store, 'ann', 'bob')
    const { id } = await store.core.companies.create({
      name: 'Example',
      owners: [ann, ann],
      managers: [ann, bob],
      members: [ann, bob, bob],
    })
    assert.deepEqual(await roles(store, id, [ann, bob]), ['owner', 'manager'])
  })

  it('is made whole or not at all', async (t) => {
    const store = await openTestStore(t)
    const [ann] = await people(store, 'ann')
    await assert.rejects(
      store.core.companies.create({
        name: 'Example',
        owners: [ann],
        managers: [],
        members: [NOWHERE],
      }),
    )
    assert.deepEqual(
      await rowsOf(
        store.config,
        'select id from company union all select company_id from company_member',
      ),
      [],
    )
  })

  it('is kept apart from others', async (t) => {
    const store = await openTestStore(t)
    const [ann, bob] = await people(store, 'ann', 'bob')
    const nobody = { managers: [], members: [] }
    const one = await store.core.companies.create({ name: 'One', owners: [ann], ...nobody })
    const two = await store.core.companies.create({ name: 'One', owners: [bob], ...nobody })
    assert.notEqual(one.id, two.id)
    assert.deepEqual(await roles(store, one.id, [ann, bob]), ['owner', undefined])
    assert.deepEqual(await roles(store, two.id, [ann, bob]), [undefined, 'owner'])
  })
})

describe('an application of a company', { concurrency: 4 }, () => {
  it('belongs to it and has a token of its own', async (t) => {
    const store = await openTestStore(t)
    const { id } = await store.core.companies.create({
      name: 'Example',
      owners: [],
      managers: [],
      members: [],
    })
    const made = await store.core.companies.createApplication(id, 'Importer')
    assert.deepEqual(await roles(store, id, [made.applicationId]), ['application'])
    const bearer = await store.core.tokens.authenticate(made.token)
    assert.equal(bearer?.identityId, made.applicationId)
    const identity = await store.core.identities.get(made.applicationId)
    assert.deepEqual(
      [identity.kind, identity.accountId, identity.profile.displayName, identity.profile.email],
      ['application', null, 'Importer', null],
    )
    assert.equal(await store.core.identities.hasPerson(), false)
  })

  it('is not made for a company that is not there, nor is its token', async (t) => {
    const store = await openTestStore(t)
    await assertRefused(
      store.core.companies.createApplication(NOWHERE, 'Importer'),
      'company_not_found',
    )
    assert.deepEqual(
      await rowsOf(store.config, 'select id from identity union all select id from api_token'),
      [],
    )
  })
})

async function people(
  store: TestStore,
  ...names: string[]
): Promise<[string, string, string, string]> {
  const ids: string[] = []
  for (const name of names) {
    const email = `${name}@example.com`
    ids.push((await store.core.identities.createPerson({ email, name })).id)
  }
  return ids as [string, string, string, string]
}

async function roles(store: TestStore, companyId: string, ids: string[]) {
  return onReader(store, (reader) =>
    Promise.all(
      ids.map(async (id) => (await store.core.companies.memberOf(reader, companyId, id))?.role),
    ),
  )
}

/** Queries inside a transaction, as the core's own callers do. */
async function onReader<T>(store: TestStore, work: (reader: Reader) => Promise<T>): Promise<T> {
  return store.core.blobs.unlinking((writer) => work(writer))
}
