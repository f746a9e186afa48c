import assert from 'node:assert/strict'
import { SealError, type SealErrorCode } from '../../src/index.ts'

/** `size` bytes that differ from place to place and are the same in every run. */
export function pattern(size: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(size)
  let state = seed | 0
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) | 0
    bytes[at] = state >>> 16
  }
  return bytes
}

/** Equal as bytes, whatever class holds them; says where they differ, not megabytes of what. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(actual, expected) === 0) return
  const at = actual.findIndex((byte, index) => byte !== expected[index])
  assert.fail(`${actual.length} and ${expected.length} bytes, which differ from byte ${at}`)
}

/** Runs `act`, which has to throw a `SealError` with one of `codes`. */
export function assertSealError(act: () => unknown, ...codes: SealErrorCode[]): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof SealError, `a ${error}`)
    assert.ok(codes.includes(error.code), `${error.code}, not ${codes.join(' or ')}`)
    return true
  })
}

/** Cuts `bytes` into slices of `size`; the last may be shorter. */
export function* slices(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** A copy of `bytes` with one bit turned. */
export function flipped(bytes: Uint8Array, at: number, bit = 0): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ (1 << bit)
  return copy
}
