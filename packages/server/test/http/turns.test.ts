import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTurns } from '../../src/http/turns.ts'

test('what a turn has room for does not wait, and what it has no room for waits for the next', async () => {
  const turns = createTurns(100)
  const told: string[] = []
  setImmediate(() => told.push('the turn is over'))
  for (const piece of ['first', 'second', 'third']) {
    await turns.take(50)
    told.push(piece)
  }
  assert.deepEqual(told, ['first', 'second', 'the turn is over', 'third'])
})

test('of several that have much to do each gets its share', async () => {
  const turns = createTurns(1)
  const told: string[] = []
  async function work(name: string): Promise<void> {
    for (let piece = 1; piece <= 3; piece += 1) {
      await turns.take(1)
      told.push(`${name}${piece}`)
    }
  }
  await Promise.all([work('a'), work('b'), work('c')])
  assert.deepEqual(told, ['a1', 'b1', 'c1', 'a2', 'b2', 'c2', 'a3', 'b3', 'c3'])
})
