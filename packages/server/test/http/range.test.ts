import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ByteRange, requestedRange } from '../../src/http/range.ts'

const ETAG = '"version"'

/** Which byte positions a range header asks for, one by one: slow and plain. */
function model(first: number | undefined, last: number | undefined, size: number) {
  const positions = Array.from({ length: size }, (_, position) => position)
  if (first === undefined) return positions.slice(Math.max(0, size - (last ?? 0)))
  return positions.filter((position) => position >= first && position <= (last ?? size))
}

function positionsOf(range: ByteRange | 'unsatisfiable' | undefined, size: number): number[] {
  if (range === 'unsatisfiable') return []
  const { start, end } = range ?? { start: 0, end: size }
  assert.ok(start >= 0 && start < end && end <= size, `${start} to ${end} of ${size}`)
  return Array.from({ length: end - start }, (_, n) => start + n)
}

test('a range is the bytes of the file that it names, and unsatisfiable when there are none', () => {
  const position = fc.nat({ max: 60 })
  const bounds = fc.oneof(
    fc.record({ first: position, last: position }),
    fc.record({ first: position, last: fc.constant(undefined) }),
    fc.record({ first: fc.constant(undefined), last: position }),
  )
  fc.assert(
    fc.property(bounds, fc.nat({ max: 50 }), ({ first, last }, size) => {
      const range = `bytes=${first ?? ''}-${last ?? ''}`
      const answer = requestedRange({ range }, size, ETAG)
      if (first !== undefined && last !== undefined && last < first) {
        assert.equal(answer, undefined, 'no range at all')
      } else {
        assert.notEqual(answer, undefined)
        assert.deepEqual(positionsOf(answer, size), model(first, last, size))
      }
    }),
    { numRuns: 500 },
  )
})

test('whatever a header holds, the answer is a range within the file, or none', () => {
  const header = fc.oneof(
    fc.string(),
    fc.string().map((text) => `bytes=${text}`),
    fc.bigInt({ min: 0n }).map((n) => `bytes=${n}-`),
    fc.bigInt({ min: 0n }).map((n) => `bytes=-${n}`),
  )
  fc.assert(
    fc.property(header, fc.integer({ min: 1, max: 100 }), (range, size) => {
      positionsOf(requestedRange({ range }, size, ETAG), size)
    }),
    { numRuns: 500 },
  )
})

test('nothing of an empty file can be ranged', () => {
  for (const range of ['bytes=0-', 'bytes=0-0', 'bytes=-1']) {
    assert.equal(requestedRange({ range }, 0, ETAG), 'unsatisfiable')
  }
})

test('If-Range lets only the same strong version have its range', () => {
  const asked = (ifRange: string) =>
    requestedRange({ range: 'bytes=0-0', 'if-range': ifRange }, 10, ETAG)
  assert.deepEqual(asked(ETAG), { start: 0, end: 1 })
  for (const other of [`W/${ETAG}`, '"other"', '', '*', 'Wed, 21 Oct 2015 07:28:00 GMT']) {
    assert.equal(asked(other), undefined)
  }
})
