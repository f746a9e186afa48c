/**
 * Proves that memory does not grow with the size of files when they go into a bucket, as
 * `e2e/memory.test.ts` does for a disk. The AWS SDK and buffers of 5 MiB take some of it.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MIB, peakAfter } from '../e2e/peak.ts'
import { startCeph } from './ceph.ts'

const SMALL = 256 * MIB
const LARGE = 1024 * MIB
const MOST_MIB = 260
const TOLERATED = 1.1

const ceph = await startCeph()

test('a server moves a GiB into a bucket and back in the memory that 256 MiB take', {
  skip: typeof ceph === 'string' && ceph,
}, async (t) => {
  if (typeof ceph === 'string') return
  const small = await peakAfter(t, SMALL, ceph.settings(ceph.place()))
  const large = await peakAfter(t, LARGE, ceph.settings(ceph.place()))
  t.diagnostic(`VmHWM: ${small.toFixed(1)} MiB for 256 MiB, ${large.toFixed(1)} MiB for 1 GiB`)
  assert.ok(large <= MOST_MIB, `${large} MiB`)
  assert.ok(large <= small * TOLERATED, `${large} MiB against ${small} MiB`)
})
