import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  CHUNK_SIZE,
  chunkRange,
  createOpener,
  createSealer,
  generateIdentity,
  headerSize,
  open,
  openChunk,
  openHeader,
  plainSize,
  SEALED_CHUNK_SIZE,
  seal,
  sealChunk,
  sealedSize,
  sealHeader,
} from '../src/index.ts'
import { assertSameBytes, assertSealError, pattern, slices } from './helpers/bytes.ts'

const identity = generateIdentity('x25519')
const recipients = [identity.recipient]
const { payloadKey } = sealHeader(recipients)
const SIZES = [0, 1, 65_535, 65_536, 65_537, 131_072, 131_073, 200_000]

describe('a sealer', () => {
  it('makes the same kind of file however its input is cut', () => {
    for (const size of SIZES) {
      for (const pieceSize of [1000, 65_535, 65_536, 65_537, 150_000]) {
        const sealer = createSealer(recipients)
        const parts = [sealer.header]
        for (const piece of slices(pattern(size), pieceSize)) parts.push(...sealer.update(piece))
        parts.push(...sealer.end())
        const file = Buffer.concat(parts)
        assert.equal(sealer.plainBytes, size)
        assert.equal(file.length, sealedSize(size, headerSize(recipients)))
        assertSameBytes(open([identity], file), pattern(size))
      }
    }
  })

  it('lets its input go: a caller may free it at once', () => {
    const plain = pattern(200_000)
    const sealer = createSealer(recipients)
    const parts: Uint8Array[] = [sealer.header]
    for (const piece of slices(plain, 30_000)) {
      const own = Uint8Array.from(piece)
      parts.push(...sealer.update(own))
      own.fill(0)
      own.buffer.transfer(0)
    }
    parts.push(...sealer.end())
    assertSameBytes(open([identity], Buffer.concat(parts)), plain)
  })

  it('gives pieces that own their memory: ciphertext, then tag, for each chunk', () => {
    const sealer = createSealer(recipients)
    const pieces = [...sealer.update(pattern(150_000)), ...sealer.end()]
    assert.deepEqual(
      pieces.map(({ length }) => length),
      [CHUNK_SIZE, 16, CHUNK_SIZE, 16, 150_000 - 2 * CHUNK_SIZE, 16],
    )
    for (const piece of pieces) assertOwnsMemory(piece)
  })

  it('holds back no more than the chunk that may be the last', () => {
    const sealer = createSealer(recipients)
    assert.equal(sealer.update(pattern(CHUNK_SIZE)).length, 0)
    assert.equal(sealer.update(new Uint8Array(0)).length, 0)
    assert.equal(sealer.update(pattern(1)).length, 2)
    assert.equal(sealer.end().length, 2)
  })

  it('takes nothing after its end', () => {
    const sealer = createSealer(recipients)
    sealer.end()
    assertSealError(() => sealer.update(pattern(1)), 'closed')
    assertSealError(() => sealer.end(), 'closed')
  })
})

describe('an opener', () => {
  const sealed = (size: number) => {
    const file = seal(recipients, pattern(size))
    const header = openHeader(file, [identity])
    return { key: header.payloadKey, payload: file.subarray(header.size) }
  }

  it('gives the same bytes however its input is cut, the size known or not', () => {
    for (const size of SIZES) {
      const { key, payload } = sealed(size)
      for (const pieceSize of [1000, 65_552, 65_553, 150_000]) {
        for (const opener of [createOpener(key), createOpener(key, size)]) {
          const parts: Uint8Array[] = []
          for (const piece of slices(payload, pieceSize)) parts.push(...opener.update(piece))
          parts.push(...opener.end())
          assertSameBytes(Buffer.concat(parts), pattern(size))
          for (const part of parts) assertOwnsMemory(part)
        }
      }
    }
  })

  it('lets its input go: a caller may free it at once', () => {
    const { key, payload } = sealed(200_000)
    const opener = createOpener(key)
    const parts: Uint8Array[] = []
    for (const piece of slices(payload, 30_000)) {
      const own = Uint8Array.from(piece)
      parts.push(...opener.update(own))
      own.buffer.transfer(0)
    }
    parts.push(...opener.end())
    assertSameBytes(Buffer.concat(parts), pattern(200_000))
  })

  it('repeats the error of a failure, and takes nothing after its end', () => {
    const { key, payload } = sealed(10)
    const failed = createOpener(key, 10)
    assertSealError(() => failed.update(pattern(26)), 'chunk_authentication')
    assertSealError(() => failed.update(payload), 'chunk_authentication')
    assertSealError(() => failed.end(), 'chunk_authentication')
    const opener = createOpener(key)
    opener.update(payload)
    opener.end()
    assertSealError(() => opener.update(payload), 'closed')
    assertSealError(() => opener.end(), 'closed')
  })

  it('returns what precedes a broken chunk, and throws at the next call', () => {
    const { key, payload } = sealed(200_000)
    const broken = Uint8Array.from(payload)
    broken[SEALED_CHUNK_SIZE] = (broken[SEALED_CHUNK_SIZE] ?? 0) ^ 1
    const opener = createOpener(key)
    assertSameBytes(Buffer.concat(opener.update(broken)), pattern(200_000).subarray(0, CHUNK_SIZE))
    assertSealError(() => opener.end(), 'chunk_authentication')
  })

  it('refuses a size that no plaintext has', () => {
    for (const size of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      assertSealError(() => createOpener(payloadKey, size), 'size_invalid')
    }
  })

  it('refuses an empty chunk behind a full one', () => {
    const full = Buffer.concat(sealChunk(payloadKey, 0, false, pattern(CHUNK_SIZE)))
    // Such a chunk cannot be made with this package: it takes the bare cipher.
    assertSealError(() => sealChunk(payloadKey, 1, true, new Uint8Array(0)), 'size_invalid')
    const opener = createOpener(payloadKey)
    assert.equal(opener.update(Buffer.concat([full, new Uint8Array(16)])).length, 1)
    assertSealError(() => opener.end(), 'chunk_authentication')
  })
})

describe('a chunk', () => {
  it('opens at its own place only', () => {
    const sealed = Buffer.concat(sealChunk(payloadKey, 5, false, pattern(CHUNK_SIZE)))
    assertSameBytes(openChunk(payloadKey, 5, false, sealed), pattern(CHUNK_SIZE))
    const places: [number, boolean][] = [
      [4, false],
      [6, false],
      [5, true],
      [5 + 2 ** 32, false],
    ]
    for (const [index, isLast] of places) {
      assertSealError(() => openChunk(payloadKey, index, isLast, sealed), 'chunk_authentication')
    }
  })

  it('counts beyond 32 bits', () => {
    for (const index of [255, 256, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 3, 2 ** 48 - 1]) {
      const sealed = Buffer.concat(sealChunk(payloadKey, index, true, pattern(3)))
      assertSameBytes(openChunk(payloadKey, index, true, sealed), pattern(3))
      const carried = index % 2 ** 32
      if (carried === index) continue
      assertSealError(() => openChunk(payloadKey, carried, true, sealed), 'chunk_authentication')
    }
  })

  it('has no impossible index', () => {
    for (const index of [-1, 0.5, Number.NaN, 2 ** 48]) {
      assertSealError(() => sealChunk(payloadKey, index, true, pattern(1)), 'range_invalid')
      assertSealError(() => openChunk(payloadKey, index, true, pattern(17)), 'range_invalid')
    }
  })

  it('has no impossible size', () => {
    assertSealError(() => sealChunk(payloadKey, 0, false, pattern(CHUNK_SIZE - 1)), 'size_invalid')
    assertSealError(() => sealChunk(payloadKey, 0, true, pattern(CHUNK_SIZE + 1)), 'size_invalid')
    for (const size of [0, 1, 15, SEALED_CHUNK_SIZE + 1]) {
      const sealed = pattern(size)
      assertSealError(() => openChunk(payloadKey, 0, true, sealed), 'chunk_authentication')
    }
  })
})

describe('sizes', () => {
  it('are a tag more for each chunk, and one for none', () => {
    const header = 184
    for (const [plain, chunks] of [
      [0, 1],
      [1, 1],
      [65_536, 1],
      [65_537, 2],
      [2 ** 40, 2 ** 24],
    ] as const) {
      assert.equal(sealedSize(plain, header), header + plain + 16 * chunks)
      assert.equal(plainSize(sealedSize(plain, header), header), plain)
    }
  })

  it('are refused where no file can have them', () => {
    for (const payload of [
      -1,
      0,
      15,
      SEALED_CHUNK_SIZE + 1,
      SEALED_CHUNK_SIZE + 16,
      0.5,
      Number.NaN,
    ]) {
      assertSealError(() => plainSize(184 + payload, 184), 'size_invalid')
    }
    for (const plain of [-1, 0.5, Number.NaN, 2 ** 53 - 1]) {
      assertSealError(() => sealedSize(plain, 184), 'size_invalid')
    }
  })
})

describe('a chunk range', () => {
  it('covers the chunks that hold it', () => {
    assert.deepEqual(chunkRange(65_535, 65_537, 200_000), {
      firstChunk: 0,
      lastChunk: 1,
      finalChunk: 3,
      sealedStart: 0,
      sealedEnd: 2 * SEALED_CHUNK_SIZE,
      skip: 65_535,
      bytes: 2,
    })
    assert.deepEqual(chunkRange(199_999, 200_000, 200_000), {
      firstChunk: 3,
      lastChunk: 3,
      finalChunk: 3,
      sealedStart: 3 * SEALED_CHUNK_SIZE,
      sealedEnd: sealedSize(200_000, 0),
      skip: 199_999 - 3 * CHUNK_SIZE,
      bytes: 1,
    })
  })

  it('names one chunk even where there is nothing to read', () => {
    const { firstChunk, lastChunk, sealedEnd } = chunkRange(0, 0, 0)
    assert.deepEqual([firstChunk, lastChunk, sealedEnd], [0, 0, 16])
    const atEnd = chunkRange(131_072, 131_072, 131_072)
    assert.deepEqual([atEnd.firstChunk, atEnd.lastChunk, atEnd.bytes], [1, 1, 0])
  })

  it('is refused outside of the plaintext', () => {
    for (const [start, end, size] of [
      [0, 1, 0],
      [-1, 1, 10],
      [2, 1, 10],
      [0, 11, 10],
      [0.5, 1, 10],
      [0, Number.NaN, 10],
      [0, 1, Number.POSITIVE_INFINITY],
    ] as const) {
      assertSealError(() => chunkRange(start, end, size), 'range_invalid')
    }
  })
})

function assertOwnsMemory(piece: Uint8Array): void {
  assert.equal(piece.byteLength, piece.buffer.byteLength)
}
