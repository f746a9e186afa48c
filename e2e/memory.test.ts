/**
 * Proves that memory does not grow with the size of files: the greatest resident size (VmHWM) of a
 * server that took in and gave out 2 GiB is at most 200 MiB, and within 10 % of that of a server
 * that did the same with 256 MiB. Nothing here holds a file either; what comes back is compared by
 * its hash.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MIB, peakAfter } from './peak.ts'

const SMALL = 256 * MIB
const LARGE = 2048 * MIB
const MOST_MIB = 200
const TOLERATED = 1.1

test('a server moves 2 GiB in the memory that 256 MiB take', async (t) => {
  const small = await peakAfter(t, SMALL)
  const large = await peakAfter(t, LARGE)
  t.diagnostic(`VmHWM: ${small.toFixed(1)} MiB for 256 MiB, ${large.toFixed(1)} MiB for 2 GiB`)
  assert.ok(large <= MOST_MIB, `${large} MiB`)
  assert.ok(large <= small * TOLERATED, `${large} MiB against ${small} MiB`)
})
