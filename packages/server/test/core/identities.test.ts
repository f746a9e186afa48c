import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { assertRefused } from '../helpers/refusals.ts'
import { openTestStore, rowsOf, tamper } from '../helpers/store.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const NOBODY = '00000000-0000-4000-8000-000000000000'

describe('a person', { concurrency: 4 }, () => {
  it('is made with her address, her name and her time zone', async (t) => {
    const { core, clock } = await openTestStore(t)
    const person = await core.identities.createPerson({
      email: ' Ann@Example.com ',
      name: 'Ann Example',
      timeZone: 'Europe/Paris',
    })
    assert.match(person.id, UUID)
    assert.match(person.accountId ?? '', UUID)
    assert.deepEqual(person, {
      id: person.id,
      kind: 'person',
      accountId: person.accountId,
      profile: {
        email: 'Ann@Example.com',
        displayName: 'Ann Example',
        avatarUrl: null,
        timeZone: 'Europe/Paris',
        notifications: 'minimal',
        color: null,
        publicKeys: {},
      },
      createdAt: clock.now,
    })
    assert.deepEqual(await core.identities.get(person.id), person)
  })

  it('lives in UTC when nobody says otherwise', async (t) => {
    const { core } = await openTestStore(t)
    const { profile } = await core.identities.createPerson({ email: 'a@example.com', name: 'Ann' })
    assert.equal(profile.timeZone, 'UTC')
  })

  it('is found by every writing of her address', async (t) => {
    const { core } = await openTestStore(t)
    const person = await core.identities.createPerson({ email: 'zoë@bücher.example', name: 'Zoë' })
    for (const email of [
      'ZOË@BÜCHER.EXAMPLE',
      '  zoë@xn--bcher-kva.example ',
      'zoe\u0308@bu\u0308cher.example',
    ]) {
      assert.deepEqual(await core.identities.findByEmail(email), person)
    }
    await assertRefused(core.identities.findByEmail('zoe@bücher.example'), 'identity_not_found')
    await assertRefused(core.identities.findByEmail('zoe'), 'email_malformed')
  })

  it('has her address to herself, in every writing', async (t) => {
    const { core } = await openTestStore(t)
    await core.identities.createPerson({ email: 'ann@example.com', name: 'Ann' })
    for (const email of ['ann@example.com', 'ANN@example.com', ' ann@EXAMPLE.com']) {
      await assertRefused(core.identities.createPerson({ email, name: 'Other' }), 'email_taken')
    }
    for (const email of ['a.nn@example.com', 'ann+1@example.com', 'ann@example.org']) {
      await core.identities.createPerson({ email, name: 'Other' })
    }
  })

  it('is made once when she is asked for many times at the same time', async (t) => {
    const store = await openTestStore(t)
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, (_, index) =>
        store.core.identities.createPerson({ email: 'ann@example.com', name: `Ann ${index}` }),
      ),
    )
    const made = outcomes.filter((outcome) => outcome.status === 'fulfilled')
    assert.equal(made.length, 1)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') assert.equal(outcome.reason.code, 'email_taken')
    }
    const { count } = (await rowsOf(store.config, 'select count(*) as count from identity'))[0] as {
      count: number
    }
    assert.equal(count, 1)
  })

  it('is not made with a malformed address or an unknown time zone', async (t) => {
    const { core } = await openTestStore(t)
    await assertRefused(core.identities.createPerson({ email: 'ann', name: '' }), 'email_malformed')
    for (const timeZone of ['', 'Mars/Olympus', 'Europe/Paris ', '../etc/passwd']) {
      await assertRefused(
        core.identities.createPerson({ email: 'ann@example.com', name: 'Ann', timeZone }),
        'time_zone_unknown',
      )
    }
    assert.equal(await core.identities.hasPerson(), false)
  })

  it('can change everything but her address', async (t) => {
    const { core } = await openTestStore(t)
    const person = await core.identities.createPerson({ email: 'a@example.com', name: 'Ann' })
    const change = {
      displayName: 'Anna',
      avatarUrl: 'https://example.com/anna.png',
      timeZone: 'Asia/Tokyo',
      notifications: 'frequent',
      color: '#123456',
      publicKeys: { pubkey: 'abc' },
    } as const
    const changed = await core.identities.change(person.id, change)
    assert.deepEqual(changed, { ...person, profile: { email: 'a@example.com', ...change } })
    assert.deepEqual(await core.identities.get(person.id), changed)
    assert.deepEqual(await core.identities.findByEmail('a@example.com'), changed)
  })

  it('is not changed to an unknown time zone, nor is somebody who is not there', async (t) => {
    const { core } = await openTestStore(t)
    const person = await core.identities.createPerson({ email: 'a@example.com', name: 'Ann' })
    await assertRefused(
      core.identities.change(person.id, { displayName: 'Anna', timeZone: 'Nowhere' }),
      'time_zone_unknown',
    )
    assert.deepEqual(await core.identities.get(person.id), person)
    await assertRefused(core.identities.change(NOBODY, {}), 'identity_not_found')
    await assertRefused(core.identities.get(NOBODY), 'identity_not_found')
  })

  it('is not opened when her row is another’s', async (t) => {
    const store = await openTestStore(t)
    const ann = await store.core.identities.createPerson({ email: 'a@example.com', name: 'Ann' })
    const bob = await store.core.identities.createPerson({ email: 'b@example.com', name: 'Bob' })
    await tamper(
      store.config,
      'update identity set sealed = (select sealed from identity where id = ?) where id = ?',
      bob.id,
      ann.id,
    )
    await assertRefused(store.core.identities.get(ann.id), 'integrity')
    await assertRefused(store.core.identities.getMany([ann.id, bob.id]), 'integrity')
    assert.deepEqual(await store.core.identities.get(bob.id), bob)
  })
})

describe('many identities', { concurrency: 4 }, () => {
  it('are answered by their id, those that are there, each once', async (t) => {
    const { core } = await openTestStore(t)
    const made = await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        core.identities.createPerson({ email: `p${index}@example.com`, name: `P ${index}` }),
      ),
    )
    const strangers = Array.from({ length: 1200 }, (_, index) =>
      NOBODY.replace(/.{4}$/, String(index).padStart(4, '0')),
    )
    const ids = made.map((person) => person.id)
    const found = await core.identities.getMany([...ids, ...strangers, ...ids])
    assert.deepEqual(
      [...found].sort(([one], [other]) => (one < other ? -1 : 1)),
      made
        .map((person) => [person.id, person] as const)
        .sort(([one], [other]) => (one < other ? -1 : 1)),
    )
    assert.deepEqual(await core.identities.getMany([]), new Map())
  })
})

describe('the organisation of those who name no other', { concurrency: 4 }, () => {
  it('is made once, also when many ask at the same time, and is no person', async (t) => {
    const { core } = await openTestStore(t)
    const ids = await Promise.all(
      Array.from({ length: 8 }, () => core.identities.selfOrganisation()),
    )
    assert.equal(new Set(ids).size, 1)
    const organisation = await core.identities.get(ids[0] ?? '')
    assert.equal(organisation.kind, 'organisation')
    assert.equal(organisation.accountId, null)
    assert.equal(organisation.profile.email, null)
    assert.equal(await core.identities.hasPerson(), false)
    await core.identities.createPerson({ email: 'a@example.com', name: 'Ann' })
    assert.equal(await core.identities.hasPerson(), true)
  })
})
