import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { encodeHeader, parseHeader, verifyHeaderMac } from '../src/header.ts'
import {
  generateIdentity,
  HEADER_LIMITS,
  headerSize,
  openChunk,
  openHeader,
  type Stanza,
  sealChunk,
  sealHeader,
} from '../src/index.ts'
import { assertSameBytes, assertSealError, flipped, pattern } from './helpers/bytes.ts'

const x25519 = generateIdentity('x25519')
const hybrid = generateIdentity('hybrid')
const fileKey = pattern(16)
const grease = (bytes: number): Stanza => ({ type: 'grease', args: ['!~'], body: pattern(bytes) })
const encoded = (...stanzas: Stanza[]) => encodeHeader(stanzas, fileKey)

describe('a sealed header', () => {
  const lists = [[x25519], [hybrid], [hybrid, x25519], [hybrid, hybrid], [x25519, x25519, x25519]]

  it('has the size that was foretold for its recipients', () => {
    for (const list of lists) {
      const recipients = list.map(({ recipient }) => recipient)
      assert.equal(sealHeader(recipients).bytes.length, headerSize(recipients))
    }
    assert.equal(headerSize([x25519.recipient]), 168 + 16)
    assert.equal(headerSize([hybrid.recipient]), 1627 + 16)
  })

  it('gives each of its recipients the payload key, and the place of the payload', () => {
    for (const list of lists) {
      const header = sealHeader(list.map(({ recipient }) => recipient))
      const sealed = Buffer.concat(sealChunk(header.payloadKey, 0, true, pattern(9)))
      for (const identity of list) {
        const { size, payloadKey } = openHeader(header.bytes, [identity])
        assert.equal(size, header.bytes.length)
        assertSameBytes(openChunk(payloadKey, 0, true, sealed), pattern(9))
      }
    }
  })

  it('may be followed by anything', () => {
    const { bytes } = sealHeader([hybrid.recipient])
    assert.equal(openHeader(Buffer.concat([bytes, pattern(5000)]), [hybrid]).size, bytes.length)
  })

  it('is never the same twice', () => {
    const [a, b] = [sealHeader([x25519.recipient]), sealHeader([x25519.recipient])]
    const sealed = Buffer.concat(sealChunk(a.payloadKey, 0, true, pattern(9)))
    assertSealError(() => openChunk(b.payloadKey, 0, true, sealed), 'chunk_authentication')
  })

  it('is not made for nobody', () => {
    assertSealError(() => sealHeader([]), 'no_recipients')
  })

  it('matches no identity but those of its recipients', () => {
    for (const kind of ['x25519', 'hybrid'] as const) {
      const { bytes } = sealHeader([x25519.recipient, hybrid.recipient])
      const strangers = [generateIdentity(kind), generateIdentity(kind)]
      assertSealError(() => openHeader(bytes, strangers), 'no_match')
      assertSealError(() => openHeader(bytes, []), 'no_match')
      assert.equal(openHeader(bytes, [...strangers, hybrid]).size, bytes.length)
    }
  })

  it('asks for more bytes wherever it is cut', () => {
    for (const identity of [x25519, hybrid]) {
      const { bytes } = sealHeader([identity.recipient])
      for (let size = 0; size < bytes.length; size++) {
        assertSealError(() => openHeader(bytes.subarray(0, size), [identity]), 'header_truncated')
      }
    }
  })

  it('leaves no file key behind in memory, neither when sealed nor when opened', () => {
    const seen: Uint8Array[] = []
    const { bytes } = sealHeader([
      {
        kind: 'x25519',
        stanzaSize: x25519.recipient.stanzaSize,
        wrap(key) {
          seen.push(key)
          return x25519.recipient.wrap(key)
        },
      },
    ])
    openHeader(bytes, [
      {
        unwrap(stanzas) {
          const key = x25519.unwrap(stanzas)
          if (key) seen.push(key)
          return key
        },
      },
    ])
    assert.deepEqual(seen.map(Buffer.from), [Buffer.alloc(16), Buffer.alloc(16)])
  })

  it('takes no file key of another size', () => {
    const { bytes } = sealHeader([x25519.recipient])
    for (const size of [0, 15, 17, 32]) {
      assertSealError(
        () => openHeader(bytes, [{ unwrap: () => pattern(size) }]),
        'header_malformed',
      )
    }
  })

  it('is refused before a key is tried on a body of the wrong size', () => {
    for (const identity of [x25519, hybrid]) {
      const stanza = identity.recipient.wrap(fileKey)
      for (const size of [0, 31, 33, 48]) {
        const text = encoded({ ...stanza, body: pattern(size) })
        const bytes = Buffer.concat([text, new Uint8Array(16)])
        assertSealError(() => openHeader(bytes, [identity]), 'header_malformed')
      }
    }
  })

  it('is refused with any bit of its text turned', () => {
    for (const identity of [x25519, hybrid]) {
      const { bytes } = sealHeader([identity.recipient])
      for (let at = 0; at < bytes.length - 16; at++) {
        for (const bit of [0, 5, 7]) {
          assertSealError(
            () => openHeader(flipped(bytes, at, bit), [identity]),
            'header_malformed',
            'no_match',
            'header_mac',
            'header_truncated',
          )
        }
      }
    }
  })

  it('is refused with a stanza added, dropped or moved by somebody without the file key', () => {
    const { bytes } = sealHeader([x25519.recipient, hybrid.recipient])
    const { stanzas, mac, size } = parseHeader(bytes)
    const [first, second] = stanzas
    assert.ok(first && second)
    for (const changed of [
      [first],
      [second, first],
      [first, second, grease(1)],
      [first, ...stanzas],
    ]) {
      const text = Buffer.from(encoded(...changed))
        .toString()
        .replace(/--- .*\n$/, '')
      const macLine = `--- ${Buffer.from(mac).toString('base64').replace('=', '')}\n`
      const forged = Buffer.concat([Buffer.from(text + macLine), bytes.subarray(size)])
      assertSealError(() => openHeader(forged, [x25519]), 'header_mac')
    }
  })
})

describe('the header codec', () => {
  it('gives back any stanzas, bodies of whole lines included', () => {
    const stanzas = [0, 1, 47, 48, 49, 95, 96, 97, 480].map(grease)
    const header = parseHeader(encoded(...stanzas))
    assert.deepEqual(header.stanzas, stanzas)
    assert.equal(header.size, encoded(...stanzas).length)
    verifyHeaderMac(fileKey, header)
    assertSealError(() => verifyHeaderMac(pattern(16, 2), header), 'header_mac')
  })

  it('refuses what begins otherwise at the first wrong byte', () => {
    for (const text of ['x', 'age-encryption.org/v2', 'age-encryption.org/v1 \n', '\n', '%PDF']) {
      assertSealError(() => parseHeader(Buffer.from(text)), 'header_malformed')
    }
  })

  it('refuses a header without stanzas', () => {
    const text = `age-encryption.org/v1\n--- ${'A'.repeat(43)}\n`
    assertSealError(() => parseHeader(Buffer.from(text)), 'header_malformed')
  })
})

describe('the header limits', () => {
  const start = Buffer.from('age-encryption.org/v1\n')
  const many = (count: number) => encoded(...Array.from({ length: count }, () => grease(10)))

  it('take a header that just fits', () => {
    assert.equal(parseHeader(many(HEADER_LIMITS.stanzas)).stanzas.length, HEADER_LIMITS.stanzas)
    const header = many(3)
    assert.equal(parseHeader(header, { bytes: header.length, stanzas: 3 }).size, header.length)
  })

  it('refuse one stanza too many', () => {
    assertSealError(() => parseHeader(many(HEADER_LIMITS.stanzas + 1)), 'header_too_large')
    assertSealError(
      () => parseHeader(many(4), { ...HEADER_LIMITS, stanzas: 3 }),
      'header_too_large',
    )
    assertSealError(
      () => openHeader(many(4), [], { ...HEADER_LIMITS, stanzas: 3 }),
      'header_too_large',
    )
  })

  it('refuse one byte too many, and do not ask for more bytes then', () => {
    const header = many(3)
    const limits = { ...HEADER_LIMITS, bytes: header.length - 1 }
    assertSealError(() => parseHeader(header, limits), 'header_too_large')
    assertSealError(() => parseHeader(header.subarray(0, -1), limits), 'header_too_large')
    assertSealError(() => parseHeader(header.subarray(0, -2), limits), 'header_truncated')
  })

  it('hold for endless lines, endless bodies and endless stanzas, quickly', () => {
    const size = 64 * 1024 * 1024
    const endless = [
      Buffer.alloc(size, 'A'),
      Buffer.alloc(size, `${'A'.repeat(64)}\n`),
      Buffer.alloc(size, '-> X25519 A\n\n'),
    ].map((tail, index) => Buffer.concat([start, Buffer.from(index < 2 ? '-> a b\n' : ''), tail]))
    const began = performance.now()
    for (const bytes of endless)
      assertSealError(() => openHeader(bytes, [x25519]), 'header_too_large')
    assert.ok(performance.now() - began < 250, 'took too long')
  })
})
