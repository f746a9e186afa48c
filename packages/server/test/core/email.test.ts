import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { CoreError } from '../../src/core/errors.ts'
import { canonicalEmail, emailIndex } from '../../src/core/people/email.ts'
import { assertRefusedAtOnce } from '../helpers/refusals.ts'

describe('the canonical form of an e-mail address', () => {
  const same: [string, string][] = [
    ['ann@example.com', 'ann@example.com'],
    ['Ann.Example@Example.COM', 'ann.example@example.com'],
    ['  ann@example.com\t\n', 'ann@example.com'],
    ['ann@bücher.example', 'ann@xn--bcher-kva.example'],
    ['ann@BÜCHER.example', 'ann@xn--bcher-kva.example'],
    ['ann@XN--BCHER-KVA.example', 'ann@xn--bcher-kva.example'],
    ['zoe\u0308@example.com', 'zo\u00eb@example.com'],
    ['ZOE\u0308@example.com', 'zo\u00eb@example.com'],
    ['ann@bu\u0308cher.example', 'ann@xn--bcher-kva.example'],
  ]
  for (const [given, canonical] of same) {
    it(`of ${JSON.stringify(given)} is ${JSON.stringify(canonical)}`, () => {
      assert.equal(canonicalEmail(given), canonical)
    })
  }

  it('keeps dots, plus signs and everything else that may tell people apart', () => {
    const addresses = [
      'annexample@example.com',
      'ann.example@example.com',
      'ann+example@example.com',
      'ann-example@example.com',
      'ann_example@example.com',
      'annexample@mail.example.com',
      'zoe@example.com',
      'zoë@example.com',
    ]
    assert.deepEqual(addresses.map(canonicalEmail).slice(0, 6), addresses.slice(0, 6))
    assert.equal(new Set(addresses.map(canonicalEmail)).size, addresses.length)
  })

  it('is its own canonical form', () => {
    const part = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
    fc.assert(
      fc.property(part, part, (local, domain) => {
        const once = canonicalOrRefused(`${local}@${domain}.example`)
        if (once !== undefined) assert.equal(canonicalEmail(once), once)
      }),
      { numRuns: process.env.SLOW === '1' ? 100_000 : 2000 },
    )
  })

  const malformed = [
    '',
    ' ',
    'ann',
    '@',
    'ann@',
    '@example.com',
    'ann@ex ample.com',
    'an n@example.com',
    'ann@bob@example.com',
    'ann@example.com, bob@example.com',
    `${'a'.repeat(65)}@example.com`,
    `ann@${'a'.repeat(254)}`,
    'ann@exa<mple.com',
    'ann\n@example.com',
    'ann@example/com',
    'ann@example.com/x',
    'ann@example.com?x',
    'ann@example.com#x',
    'ann@example.com\\x',
    'ann@example.com:25',
    'ann@ex%61mple.com',
    'ann@[::1]',
  ]
  for (const text of malformed) {
    it(`of ${JSON.stringify(text.slice(0, 40))} is not there: it is no address`, () => {
      assertRefusedAtOnce(() => canonicalEmail(text), 'email_malformed')
    })
  }
})

describe('the index of an e-mail address', () => {
  it('is equal exactly for equal canonical forms, and tells nothing without its key', () => {
    const key = createSecretKey(randomBytes(32))
    const index = emailIndex(key, 'Ann@Example.com')
    assert.equal(index.length, 32)
    assert.ok(index.equals(emailIndex(key, ' ann@example.COM ')))
    assert.ok(!index.equals(emailIndex(key, 'bob@example.com')))
    assert.ok(!index.equals(emailIndex(createSecretKey(randomBytes(32)), 'ann@example.com')))
  })
})

function canonicalOrRefused(text: string): string | undefined {
  try {
    return canonicalEmail(text)
  } catch (error) {
    assert.ok(error instanceof CoreError)
    return undefined
  }
}
