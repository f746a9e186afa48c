import assert from 'node:assert/strict'

/** `size` bytes that differ from place to place and are the same in every run. */
export function pattern(size: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafeSlow(size)
  let state = Math.imul(seed, 2_654_435_761) | 1
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) | 0
    bytes[at] = state >>> 16
  }
  return bytes
}

/** Equal as bytes; says where they differ, not megabytes of what. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(actual, expected) === 0) return
  const at = actual.findIndex((byte, index) => byte !== expected[index])
  assert.fail(`${actual.length} and ${expected.length} bytes, which differ from byte ${at}`)
}

/** What a stream yields, in one piece. */
export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of source) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** `bytes` as a stream of pieces of `size`. */
export async function* inPieces(bytes: Uint8Array, size = 100_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}
