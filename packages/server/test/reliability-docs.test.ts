import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ROWS } from '../../../faults/rows/index.ts'
import { rowsOfPage } from '../../../faults/table.ts'
import { FAILPOINTS } from '../src/core/failpoints.ts'

test('docs/reliability.md names exactly the rows of the fault matrix', async () => {
  assert.deepEqual(
    await rowsOfPage(),
    ROWS.map(({ step, fault }) => `${step} | ${fault}`),
  )
})

test('every failpoint is one at which a row of the matrix kills', () => {
  const killed = new Set(
    ROWS.flatMap(({ fault }) => /^kill -9 at (.*)$/.exec(fault)?.[1]?.split(', ') ?? []),
  )
  assert.deepEqual(killed, new Set<string>(Object.keys(FAILPOINTS)))
})
