import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openTestStore } from '../helpers/store.ts'

const MESSAGES = 24
const ALL = { offset: 0, limit: 0 }

test('what members say at the same time is all there, in one order for everybody', async (t) => {
  const { core } = await openTestStore(t)
  const people = await Promise.all(
    ['ann', 'bob', 'cid'].map((name) =>
      core.identities.createPerson({ email: `${name}@example.com`, name }),
    ),
  )
  const [ann] = people.map(({ id }) => id) as [string]
  const { id: box } = await core.boxes.create(ann, { title: 'Box', publicKey: 'key' })
  await core.boxes.setAccessMode(ann, box, 'public')
  const others = people.slice(1)
  await Promise.all(others.map(({ id }) => core.boxes.join(id, box)))

  const answers = await Promise.all(
    Array.from({ length: MESSAGES }, (_, index) =>
      core.boxMessages.sendText(people[index % people.length]?.id ?? '', box, {
        encrypted: `${index}`,
        publicKey: 'key',
      }),
    ),
  )
  const events = await core.boxes.events(ann, box, 'visible', ALL)
  const numbers = events.map(({ n }) => n)
  assert.deepEqual(
    numbers,
    [...new Set(numbers)].sort((one, other) => other - one),
  )
  assert.deepEqual(
    events.filter(({ type }) => type === 'msg.text').map(({ id }) => id),
    answers.toSorted((one, other) => other.n - one.n).map(({ id }) => id),
  )
  const seen = await core.boxes.get(ann, box)
  assert.equal(seen.lastEvent.id, events[0]?.id)
  assert.equal(events.length, 1 + 1 + others.length + MESSAGES)
})
