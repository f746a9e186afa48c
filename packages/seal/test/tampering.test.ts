import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  generateIdentity,
  headerSize,
  open,
  SEALED_CHUNK_SIZE,
  type SealErrorCode,
  seal,
} from '../src/index.ts'
import { assertSameBytes, flipped, pattern } from './helpers/bytes.ts'
import { attempt } from './helpers/opening.ts'

const identity = generateIdentity('x25519')
const start = headerSize([identity.recipient])
const CHUNK = 65_536

const PAYLOAD_FAILURE: readonly SealErrorCode[] = [
  'chunk_authentication',
  'truncated',
  'trailing_data',
]

/** A file of three full chunks and a short one, and its parts. */
const plain = pattern(3 * CHUNK + 1000)
const file = seal([identity.recipient], plain)
const header = file.subarray(0, start)
const chunks = [0, 1, 2, 3].map((index) => chunkAt(file, index))

/** Has to fail in every way of feeding, and to let out whole chunks of the original at most. */
function assertRefused(
  broken: Uint8Array,
  soundChunks: number,
  codes: readonly SealErrorCode[] = PAYLOAD_FAILURE,
): void {
  for (const plainBytes of [undefined, plain.length]) {
    for (const pieceSize of [broken.length + 1, 4099]) {
      const feeding = plainBytes === undefined ? { pieceSize } : { pieceSize, plainBytes }
      const { released, error } = attempt(broken, [identity], feeding)
      assert.ok(error, 'was taken')
      assert.ok(codes.includes(error.code), `${error.code}, not ${codes.join(' or ')}`)
      assertSameBytes(released, plain.subarray(0, Math.min(soundChunks * CHUNK, plain.length)))
    }
  }
  assert.throws(() => open([identity], broken))
}

describe('a file that was cut', () => {
  it('is refused at every chunk boundary, after the chunks that are left', () => {
    for (const count of [0, 1, 2, 3]) {
      assertRefused(file.subarray(0, start + count * SEALED_CHUNK_SIZE), count, ['truncated'])
    }
  })

  it('is refused at odd places', () => {
    for (const [size, sound] of [
      [start + 1, 0],
      [start + 15, 0],
      [start + 16, 0],
      [start + SEALED_CHUNK_SIZE - 1, 0],
      [start + SEALED_CHUNK_SIZE + 1, 1],
      [start + SEALED_CHUNK_SIZE + 16, 1],
      [start + 2 * SEALED_CHUNK_SIZE - 16, 1],
      [file.length - 1, 3],
      [file.length - 16, 3],
      [file.length - 1000, 3],
    ] as const) {
      assertRefused(file.subarray(0, size), sound)
    }
  })

  it('is refused when nothing is left of it', () => {
    for (const size of [0, 1, start - 16, start - 1]) {
      assertRefused(file.subarray(0, size), 0, ['header_truncated'])
    }
  })

  it('is refused even if its plaintext was empty', () => {
    const empty = seal([identity.recipient], new Uint8Array(0))
    assert.equal(open([identity], empty).length, 0)
    for (let size = start; size < empty.length; size++) {
      assert.equal(attempt(empty.subarray(0, size), [identity]).error?.code, 'truncated')
    }
  })
})

describe('a file whose chunks were moved', () => {
  const [a, b, c, d] = chunks as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  const other = seal([identity.recipient], plain)
  const cases: readonly [string, readonly Uint8Array[], number][] = [
    ['two swapped', [b, a, c, d], 0],
    ['two swapped in the middle', [a, c, b, d], 1],
    ['one doubled', [a, a, b, c, d], 1],
    ['one replaced by its neighbour', [a, b, b, d], 2],
    ['the first dropped', [b, c, d], 0],
    ['one dropped in the middle', [a, c, d], 1],
    ['the last before the end', [a, b, d, c], 2],
    ['one of another file for the same recipient', [a, chunkAt(other, 1), c, d], 1],
  ]
  for (const [name, parts, sound] of cases) {
    it(`is refused: ${name}`, () => assertRefused(Buffer.concat([header, ...parts]), sound))
  }

  it('is refused when something was appended, after what was there before', () => {
    for (const tail of [Uint8Array.of(0), a, d, pattern(SEALED_CHUNK_SIZE), pattern(100)]) {
      const { released, error } = attempt(Buffer.concat([file, tail]), [identity], {
        plainBytes: plain.length,
      })
      assert.equal(error?.code, 'trailing_data')
      assertSameBytes(released, plain)
      const unknown = attempt(Buffer.concat([file, tail]), [identity])
      assert.ok(unknown.error)
      assertSameBytes(unknown.released, plain.subarray(0, 3 * CHUNK))
    }
  })

  it('is refused when something was appended to a last chunk that is full', () => {
    const full = seal([identity.recipient], plain.subarray(0, 2 * CHUNK))
    for (const tail of [Uint8Array.of(0), full.subarray(start), pattern(70_000)]) {
      const { released, error } = attempt(Buffer.concat([full, tail]), [identity])
      assert.equal(error?.code, 'trailing_data')
      assertSameBytes(released, plain.subarray(0, 2 * CHUNK))
    }
  })

  it('is refused with the payload of another file, or with its nonce', () => {
    const nonce = start - 16
    assertRefused(Buffer.concat([header, other.subarray(start)]), 0)
    assertRefused(Buffer.concat([header.subarray(0, nonce), other.subarray(nonce)]), 0)
    const foreignNonce = other.subarray(nonce, start)
    assertRefused(Buffer.concat([file.subarray(0, nonce), foreignNonce, file.subarray(start)]), 0)
  })
})

describe('a file with one bit turned', () => {
  it('is refused wherever in header and nonce it was, without a byte let out', () => {
    for (const kind of ['x25519', 'hybrid'] as const) {
      const key = generateIdentity(kind)
      const small = seal([key.recipient], pattern(1000))
      for (let at = 0; at < headerSize([key.recipient]); at++) {
        const { released, error } = attempt(flipped(small, at, at % 8), [key])
        assert.ok(error, `taken with byte ${at} changed`)
        assert.equal(released.length, 0)
      }
    }
  })

  it('is refused wherever in the payload of a small file it was', () => {
    const small = seal([identity.recipient], pattern(300))
    for (let at = start; at < small.length; at++) {
      const { released, error } = attempt(flipped(small, at, at % 8), [identity])
      assert.equal(error?.code, 'chunk_authentication')
      assert.equal(released.length, 0)
    }
  })

  it('is refused in any chunk, its tag included, after the chunks before it', () => {
    for (let index = 0; index < 4; index++) {
      const first = start + index * SEALED_CHUNK_SIZE
      const size = (chunks[index] as Uint8Array).length
      for (const offset of [0, 1, 500, size - 17, size - 16, size - 1]) {
        assertRefused(flipped(file, first + offset, offset % 8), index, ['chunk_authentication'])
      }
    }
  })
})

describe('a file that is not as long as its row says', () => {
  it('is refused, longer or shorter', () => {
    for (const plainBytes of [
      0,
      1,
      CHUNK,
      2 * CHUNK,
      3 * CHUNK,
      plain.length - 1,
      plain.length + 1,
    ]) {
      const { released, error } = attempt(file, [identity], { plainBytes })
      assert.ok(error, `${plainBytes} was taken`)
      assertSameBytes(released, plain.subarray(0, released.length))
    }
  })
})

function chunkAt(whole: Uint8Array, index: number): Uint8Array {
  const first = start + index * SEALED_CHUNK_SIZE
  return whole.subarray(first, first + SEALED_CHUNK_SIZE)
}
