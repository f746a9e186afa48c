import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { encodeHeader, parseHeader, verifyHeaderMac } from '../src/header.ts'
import {
  chunkRange,
  createSealer,
  generateIdentity,
  headerSize,
  open,
  openChunk,
  openHeader,
  parseIdentity,
  parseRecipient,
  plainSize,
  SEALED_CHUNK_SIZE,
  SealError,
  seal,
  sealedSize,
} from '../src/index.ts'
import { assertSameBytes, pattern } from './helpers/bytes.ts'
import { attempt } from './helpers/opening.ts'

const runs = (count: number) => ({ numRuns: process.env.SLOW === '1' ? count * 50 : count })
const identity = generateIdentity('x25519')
const hybrid = generateIdentity('hybrid')
const header = headerSize([identity.recipient])

const PLAIN = pattern(300_000)
const FILE = seal([identity.recipient], PLAIN)

/** A size near a chunk's boundary more often than chance would have it. */
const size = fc.oneof(
  fc.nat(300_000),
  fc
    .tuple(fc.nat(4), fc.integer({ min: -2, max: 2 }))
    .map(([chunks, more]) => Math.max(0, chunks * 65_536 + more)),
)
const cuts = fc.array(fc.nat(150_000), { maxLength: 12 })
const word = fc.string({
  unit: fc.integer({ min: 33, max: 126 }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 80,
})
const stanza = fc.record({
  type: word,
  args: fc.array(word, { maxLength: 4 }),
  body: fc.uint8Array({ maxLength: 200 }),
})

describe('for whatever input', () => {
  it('sealing and opening in any pieces gives the plaintext', () => {
    fc.assert(
      fc.property(size, cuts, cuts, fc.boolean(), (bytes, ins, outs, known) => {
        const plain = PLAIN.subarray(0, bytes)
        const sealer = createSealer([identity.recipient])
        const parts = [sealer.header]
        for (const piece of pieces(plain, ins)) parts.push(...sealer.update(piece))
        const file = Buffer.concat([...parts, ...sealer.end()])
        const opened = attempt(file, [identity], {
          pieceSize: (outs[0] ?? 0) + 1000,
          ...(known && { plainBytes: bytes }),
        })
        assert.equal(opened.error, undefined)
        assertSameBytes(opened.released, plain)
      }),
      runs(60),
    )
  })

  it('plainSize and sealedSize are inverse, and plainSize takes nothing else', () => {
    const large = fc.oneof(size, fc.nat(2 ** 45))
    fc.assert(
      fc.property(large, fc.nat(5000), (bytes, headerBytes) => {
        assert.equal(plainSize(sealedSize(bytes, headerBytes), headerBytes), bytes)
      }),
      runs(500),
    )
    fc.assert(
      fc.property(fc.oneof(size, fc.nat(2 ** 45)), (sealed) => {
        const plain = caught(() => plainSize(sealed, 0))
        if (plain !== undefined) assert.equal(sealedSize(plain, 0), sealed)
      }),
      runs(500),
    )
  })

  it('the chunks of a range hold the slice', () => {
    const { payloadKey } = openHeader(FILE, [identity])
    const bound = fc.oneof(size, fc.nat(PLAIN.length)).map((at) => Math.min(at, PLAIN.length))
    fc.assert(
      fc.property(bound, bound, (a, b) => {
        const [start, end] = [Math.min(a, b), Math.max(a, b)]
        const range = chunkRange(start, end, PLAIN.length)
        const sealed = FILE.subarray(header + range.sealedStart, header + range.sealedEnd)
        const opened: Uint8Array[] = []
        for (let index = range.firstChunk; index <= range.lastChunk; index++) {
          const at = (index - range.firstChunk) * SEALED_CHUNK_SIZE
          const chunk = sealed.subarray(at, at + SEALED_CHUNK_SIZE)
          opened.push(openChunk(payloadKey, index, index === range.finalChunk, chunk))
        }
        const plain = Buffer.concat(opened).subarray(range.skip, range.skip + range.bytes)
        assertSameBytes(plain, PLAIN.subarray(start, end))
      }),
      runs(200),
    )
  })

  it('a header parses to what was encoded', () => {
    const stanzas = fc.array(stanza, { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(stanzas, fc.uint8Array({ maxLength: 50 }), (list, tail) => {
        const fileKey = pattern(16)
        const bytes = encodeHeader(list, fileKey)
        const parsed = parseHeader(Buffer.concat([bytes, tail]))
        assert.equal(parsed.size, bytes.length)
        assert.deepEqual(parsed.stanzas.map(plainStanza), list.map(plainStanza))
        verifyHeaderMac(fileKey, parsed)
      }),
      runs(200),
    )
  })

  it('what parses encodes back to the same bytes', () => {
    const text = Buffer.from(seal([identity.recipient, hybrid.recipient], PLAIN.subarray(0, 10)))
    fc.assert(
      fc.property(mutations(text.length), (changes) => {
        const bytes = mutated(text, changes)
        const parsed = caught(() => parseHeader(bytes))
        if (!parsed) return
        const again = parseHeader(encodeHeader(parsed.stanzas, pattern(16)))
        assertSameBytes(again.covered, parsed.covered)
      }),
      runs(500),
    )
  })

  it('opening throws nothing but a SealError, and never gives other bytes', () => {
    const small = seal([identity.recipient, hybrid.recipient], PLAIN.subarray(0, 100))
    fc.assert(
      fc.property(mutations(small.length), (changes) => {
        const bytes = mutated(small, changes)
        const opened = caught(() => open([identity, hybrid], bytes))
        if (opened) assertSameBytes(opened, PLAIN.subarray(0, 100))
      }),
      runs(500),
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
        assert.equal(
          caught(() => open([identity], bytes)),
          undefined,
        )
        const start = Buffer.from('age-encryption.org/v1\n-> X25519 ')
        assert.equal(
          caught(() => open([identity], Buffer.concat([start, bytes]))),
          undefined,
        )
      }),
      runs(500),
    )
  })

  it('parsing a key throws nothing but a SealError', () => {
    const texts = [identity, hybrid, identity.recipient, hybrid.recipient].map(String)
    const text = fc.oneof(
      fc.string(),
      fc
        .tuple(fc.constantFrom(...texts), fc.nat(80), fc.string({ maxLength: 3 }))
        .map(([key, at, more]) => key.slice(0, at) + more + key.slice(at + 1)),
    )
    fc.assert(
      fc.property(text, (key) => {
        const parsed = caught(() => parseIdentity(key)) ?? caught(() => parseRecipient(key))
        if (parsed) assert.equal(String(parsed), key)
      }),
      runs(500),
    )
  })
})

/** Some bytes put in the place of others, at some places. */
function mutations(length: number) {
  const change = fc.record({
    at: fc.nat(length),
    drop: fc.nat(3),
    insert: fc.oneof(
      fc.uint8Array({ maxLength: 3 }),
      fc.constantFrom('\n', ' ', '-> ', '--- ', '=', 'A').map((text) => Buffer.from(text)),
    ),
  })
  return fc.array(change, { minLength: 1, maxLength: 4 })
}

type Mutation = { at: number; drop: number; insert: Uint8Array }

function mutated(bytes: Uint8Array, changes: readonly Mutation[]): Uint8Array {
  let result = Buffer.from(bytes)
  for (const { at, drop, insert } of changes) {
    result = Buffer.concat([result.subarray(0, at), insert, result.subarray(at + drop)])
  }
  return result
}

/** Consecutive pieces of these sizes, and the rest. */
function* pieces(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  let at = 0
  for (const next of sizes) {
    yield bytes.subarray(at, at + next)
    at = Math.min(at + next, bytes.length)
  }
  yield bytes.subarray(at)
}

/** The result, or nothing when it was refused as it should be. */
function caught<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch (error) {
    assert.ok(error instanceof SealError, String(error))
    return undefined
  }
}

function plainStanza({
  type,
  args,
  body,
}: {
  type: string
  args: readonly string[]
  body: Uint8Array
}) {
  return { type, args: [...args], body: Buffer.from(body).toString('hex') }
}
