import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import {
  Decrypter,
  Encrypter,
  generateHybridIdentity,
  generateX25519Identity,
  identityToRecipient,
} from 'age-encryption'
import {
  generateIdentity,
  type KeyKind,
  open,
  parseIdentity,
  parseRecipient,
  seal,
} from '../src/index.ts'
import { assertSameBytes, pattern } from './helpers/bytes.ts'

const KINDS: readonly KeyKind[] = ['x25519', 'hybrid']
const SIZES = [0, 1, 65_535, 65_536, 65_537, 131_072, 131_073, 1_000_000]

for (const kind of KINDS) {
  describe(`age-encryption and ${kind} keys`, () => {
    const identity = generateIdentity(kind)

    it('computes the same recipient from our identity', async () => {
      assert.equal(await identityToRecipient(String(identity)), String(identity.recipient))
    })

    it('makes identities we read, with the same recipient', async () => {
      const text = await (kind === 'hybrid' ? generateHybridIdentity() : generateX25519Identity())
      const parsed = parseIdentity(text)
      assert.equal(parsed.kind, kind)
      assert.equal(String(parsed), text)
      assert.equal(String(parsed.recipient), await identityToRecipient(text))
      assert.equal(String(parseRecipient(String(parsed.recipient))), String(parsed.recipient))
    })

    for (const size of SIZES) {
      const plain = pattern(size)

      it(`opens ${size} bytes we sealed`, async () => {
        const decrypter = new Decrypter()
        decrypter.addIdentity(String(identity))
        assertSameBytes(await decrypter.decrypt(seal([identity.recipient], plain)), plain)
      })

      it(`seals ${size} bytes we open`, async () => {
        const encrypter = new Encrypter()
        encrypter.addRecipient(String(identity.recipient))
        assertSameBytes(open([identity], await encrypter.encrypt(plain)), plain)
      })
    }
  })
}

describe('the age command and x25519 keys', () => {
  const identity = generateIdentity('x25519')
  let folder = ''
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'seal-'))
    writeFileSync(join(folder, 'key'), `${identity}\n`, { mode: 0o600 })
  })
  after(() => rmSync(folder, { recursive: true }))

  for (const size of SIZES) {
    const plain = pattern(size)

    it(`opens ${size} bytes we sealed`, (t) => {
      if (!hasAge(t)) return
      const sealed = seal([identity.recipient], plain)
      assertSameBytes(age(['-d', '-i', join(folder, 'key')], sealed), plain)
    })

    it(`seals ${size} bytes we open`, (t) => {
      if (!hasAge(t)) return
      assertSameBytes(open([identity], age(['-r', String(identity.recipient)], plain)), plain)
    })
  }

  it('opens its half of a file for two kinds of keys', (t) => {
    if (!hasAge(t)) return
    const hybrid = generateIdentity('hybrid')
    const sealed = seal([hybrid.recipient, identity.recipient], pattern(100))
    assertSameBytes(age(['-d', '-i', join(folder, 'key')], sealed), pattern(100))
    assertSameBytes(open([hybrid], sealed), pattern(100))
  })
})

const installed = spawnSync('age', ['--version']).status === 0

/** Where it is missing a developer may go on without it, but the build machine may not. */
function hasAge(t: TestContext): boolean {
  if (installed) return true
  if (process.env.CI === 'true') assert.fail('the age command is not installed')
  t.skip('the age command is not installed')
  return false
}

function age(args: readonly string[], input: Uint8Array): Uint8Array {
  const { status, stdout, stderr } = spawnSync('age', args, { input, maxBuffer: 1e8 })
  assert.equal(status, 0, stderr.toString())
  return stdout
}
