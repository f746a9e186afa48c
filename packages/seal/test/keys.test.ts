import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { format, inspect } from 'node:util'
import { bech32 } from '@scure/base'
import {
  generateIdentity,
  type KeyKind,
  open,
  parseIdentity,
  parseRecipient,
  SealError,
  seal,
} from '../src/index.ts'
import { assertSameBytes, assertSealError, pattern } from './helpers/bytes.ts'

const KINDS: readonly KeyKind[] = ['x25519', 'hybrid']
const text = (prefix: string, bytes: Uint8Array) =>
  bech32.encode(prefix, bech32.toWords(bytes), false)

for (const kind of KINDS) {
  describe(`an identity of kind ${kind}`, () => {
    const identity = generateIdentity(kind)
    const secret = String(identity)

    it('is new every time', () => {
      assert.notEqual(String(generateIdentity(kind)), secret)
    })

    it('comes back from its text, and opens what was sealed for the first', () => {
      const again = parseIdentity(secret)
      assert.equal(again.kind, kind)
      assert.equal(String(again), secret)
      assert.equal(String(again.recipient), String(identity.recipient))
      const sealed = seal([parseRecipient(String(identity.recipient))], pattern(10))
      assertSameBytes(open([again], sealed), pattern(10))
    })

    it('shows its secret to nobody who logs it', () => {
      const words = secret.slice(secret.indexOf('1') + 1).toLowerCase()
      const shown = [
        inspect(identity, { depth: null, showHidden: true }),
        inspect({ nested: [identity] }, { depth: null, showHidden: true }),
        inspect(identity, { customInspect: false, depth: null, showHidden: true }),
        format('%o %O %j', identity, identity, identity),
        JSON.stringify(identity),
        JSON.stringify({ nested: [identity] }),
        JSON.stringify(Object.entries(identity)),
        JSON.stringify({ ...identity }),
      ]
      for (const line of shown) {
        assert.ok(!line.toLowerCase().includes(words.slice(0, 20)), line)
        assert.ok(!/SECRET/i.test(line), line)
        assert.ok(line.includes(kind), line)
      }
    })

    it('is refused when any character of its text is wrong, without the text in the message', () => {
      for (let at = 0; at < secret.length; at++) {
        const wrong = `${secret.slice(0, at)}${secret[at] === 'Q' ? 'P' : 'Q'}${secret.slice(at + 1)}`
        assert.throws(
          () => parseIdentity(wrong),
          (error) =>
            error instanceof SealError &&
            error.code === 'key_malformed' &&
            error.cause === undefined &&
            !inspect(error).includes(secret.slice(-10, -3)),
        )
      }
    })

    it('is refused in small letters, with blanks, cut or prolonged', () => {
      for (const wrong of [
        secret.toLowerCase(),
        ` ${secret}`,
        `${secret}\n`,
        secret.slice(0, -1),
        `${secret}Q`,
        '',
        'AGE-SECRET-KEY-1',
        'AGE-SECRET-KEY-PQ-1',
        String(identity.recipient),
      ]) {
        assertSealError(() => parseIdentity(wrong), 'key_malformed')
      }
    })
  })

  describe(`a recipient of kind ${kind}`, () => {
    const recipient = String(generateIdentity(kind).recipient)

    it('comes back from its text', () => {
      assert.equal(parseRecipient(recipient).kind, kind)
      assert.equal(String(parseRecipient(recipient)), recipient)
    })

    it('is refused in capitals, with blanks, cut, prolonged or changed', () => {
      for (const wrong of [
        recipient.toUpperCase(),
        ` ${recipient}`,
        recipient.slice(0, -1),
        `${recipient}q`,
        recipient.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q')),
        '',
        'age1',
        'age1pq1',
        String(generateIdentity(kind)),
      ]) {
        assertSealError(() => parseRecipient(wrong), 'key_malformed')
      }
    })
  })
}

describe('keys that are spelled well but are none', () => {
  it('have the wrong size', () => {
    for (const size of [0, 1, 31, 33, 64]) {
      const bytes = pattern(size)
      assertSealError(() => parseRecipient(text('age', bytes)), 'key_malformed')
      assertSealError(() => parseRecipient(text('age1pq', bytes)), 'key_malformed')
      for (const prefix of ['age-secret-key-', 'age-secret-key-pq-']) {
        assertSealError(() => parseIdentity(text(prefix, bytes).toUpperCase()), 'key_malformed')
      }
    }
  })

  it('have another prefix', () => {
    const bytes = pattern(32)
    assertSealError(() => parseRecipient(text('ages', bytes)), 'key_malformed')
    assertSealError(
      () => parseIdentity(text('age-plugin-x-', bytes).toUpperCase()),
      'key_malformed',
    )
  })

  it('are points of low order, in either kind', () => {
    const zero = new Uint8Array(32)
    const one = new Uint8Array(32).with(0, 1)
    for (const point of [zero, one]) {
      assertSealError(() => parseRecipient(text('age', point)), 'key_malformed')
      const [, hybrid = new Uint8Array()] = hybridBytes()
      hybrid.set(point, 1184)
      assertSealError(() => parseRecipient(text('age1pq', hybrid)), 'key_malformed')
    }
  })

  it('are hybrid with a coefficient that is out of range', () => {
    const [, bytes = new Uint8Array()] = hybridBytes()
    bytes.fill(0xff, 0, 3)
    assertSealError(() => parseRecipient(text('age1pq', bytes)), 'key_malformed')
  })

  it('are hybrid by prefix and X25519 by size, or the other way round', () => {
    assertSealError(() => parseRecipient(text('age1pq', pattern(32))), 'key_malformed')
    assertSealError(() => parseRecipient(text('age', pattern(1216))), 'key_malformed')
  })
})

function hybridBytes(): [string, Uint8Array] {
  const recipient = String(generateIdentity('hybrid').recipient)
  const { words } = bech32.decode(recipient as `${string}1${string}`, false)
  return [recipient, bech32.fromWords(words)]
}
