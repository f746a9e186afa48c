import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { armor } from 'age-encryption'
import { encodeHeader, parseHeader } from '../src/header.ts'
import { type FileKeyOpener, parseIdentity, type SealError } from '../src/index.ts'
import { assertSameBytes } from './helpers/bytes.ts'
import { type Attempt, attempt } from './helpers/opening.ts'
import { passphraseIdentity } from './helpers/passphrase.ts'
import { type Outcome, type Vector, vectors } from './helpers/vectors.ts'

const SLOW = process.env.SLOW === '1'
/** Pieces of one byte take a while where a vector has megabytes. */
const BYTE_BY_BYTE_UP_TO = SLOW ? Number.POSITIVE_INFINITY : 200_000

describe('the published age vectors', () => {
  it('are all here', () => {
    assert.equal(vectors.length, 143)
  })

  for (const vector of vectors) {
    describe(vector.name, () => {
      const file = unarmored(vector)
      if (!file) {
        it(`ends in ${vector.expect}`, () => assert.equal(vector.expect, 'armor failure'))
        return
      }
      const identities = identitiesOf(vector)
      const check = (pieceSize: number) => {
        const result = attempt(file, identities, { pieceSize })
        assert.equal(outcome(result.error), vector.expect, `ended with ${result.error}`)
        assertReleased(result, vector)
      }
      it(`ends in ${vector.expect}, whole`, () => check(file.length + 1))
      it('and in slices', () => check(60_013))
      if (file.length <= BYTE_BY_BYTE_UP_TO) it('and byte by byte', () => check(1))
      if (vector.expect !== 'header failure')
        it('has a header that encodes back', () => {
          const header = parseHeader(file)
          const again = parseHeader(encodeHeader(header.stanzas, new Uint8Array(16)))
          assert.deepEqual(again.stanzas, header.stanzas)
          assertSameBytes(again.covered, header.covered)
        })
    })
  }
})

/** The binary file, or nothing if its armor is broken. */
function unarmored(vector: Vector): Uint8Array | undefined {
  if (!vector.armored) return vector.file
  try {
    return armor.decode(Buffer.from(vector.file).toString('latin1'))
  } catch {
    return undefined
  }
}

function identitiesOf(vector: Vector): FileKeyOpener[] {
  return [...vector.identities.map(parseIdentity), ...vector.passphrases.map(passphraseIdentity)]
}

function outcome(error: SealError | undefined): Outcome {
  switch (error?.code) {
    case undefined:
      return 'success'
    case 'no_match':
      return 'no match'
    case 'header_mac':
      return 'HMAC failure'
    case 'chunk_authentication':
    case 'truncated':
    case 'trailing_data':
      return 'payload failure'
    default:
      return 'header failure'
  }
}

function assertReleased({ released }: Attempt, { payload }: Vector): void {
  // Where a vector names no payload, nothing may be released.
  const hash = createHash('sha256').update(released).digest('hex')
  assert.equal(released.length === 0 && payload === undefined ? undefined : hash, payload)
}
