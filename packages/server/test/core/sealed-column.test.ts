import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { sealedBytes, sealedJson } from '../../src/core/keys/sealed-column.ts'
import { createTestKeyring } from '../helpers/keyring.ts'
import { assertRefusedAtOnce } from '../helpers/refusals.ts'

const runs = (count: number) => ({ numRuns: process.env.SLOW === '1' ? count * 50 : count })
const OVERHEAD = 33

describe('a sealed column', { concurrency: 4 }, () => {
  it('gives back any JSON value that was sealed for its place', async (t) => {
    const column = sealedJson<unknown>(await (await createTestKeyring(t)).open(), 'box')
    fc.assert(
      fc.property(fc.json(), fc.string(), fc.string(), (text, row, tenant) => {
        const value = JSON.parse(text)
        assert.deepEqual(column.open(row, tenant, column.seal(row, tenant, value)), value)
      }),
      runs(200),
    )
  })

  it('gives back any bytes that were sealed for its place', async (t) => {
    const column = sealedBytes(await (await createTestKeyring(t)).open(), 'small_content')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const opened = column.open('row', '', column.seal('row', '', bytes))
        assert.deepEqual(Buffer.from(opened), Buffer.from(bytes))
      }),
      runs(100),
    )
  })

  it('never seals the same value to the same bytes', async (t) => {
    const column = sealedJson<string>(await (await createTestKeyring(t)).open(), 'box')
    const sealed = Array.from({ length: 200 }, () =>
      Buffer.from(column.seal('row', '', 'name')).toString('hex'),
    )
    assert.equal(new Set(sealed).size, 200)
    const nonces = new Set(sealed.map((value) => value.slice(10, 34)))
    assert.equal(nonces.size, 200)
  })

  it('is version, epoch, nonce, ciphertext and tag, the text padded to a multiple of 32 bytes', async (t) => {
    const files = await createTestKeyring(t)
    await files.addEpoch(258)
    const column = sealedJson<string>(await files.open(), 'box')
    for (const [letters, padded] of [
      [0, 32],
      [30, 32],
      [31, 64],
      [62, 64],
      [63, 96],
    ] as const) {
      const sealed = Buffer.from(column.seal('row', '', 'x'.repeat(letters)))
      assert.equal(sealed.length, OVERHEAD + padded, `${letters} letters`)
      assert.equal(sealed.subarray(0, 5).toString('hex'), '0100000102')
    }
  })

  it('shows nothing of what it holds', async (t) => {
    const column = sealedJson<string>(await (await createTestKeyring(t)).open(), 'box')
    const sealed = Buffer.from(column.seal('row', 'tenant', 'a very private name'))
    for (const text of ['private', 'row', 'tenant', 'box']) assert.ok(!sealed.includes(text), text)
  })
})

describe('a sealed value that is not what was sealed', { concurrency: 4 }, () => {
  it('is refused with any bit of it turned', async (t) => {
    const column = sealedJson<string>(await (await createTestKeyring(t)).open(), 'box')
    const sealed = Buffer.from(column.seal('row', 'tenant', 'a name'))
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const turned = Buffer.from(sealed)
      turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      assertRefusedAtOnce(() => column.open('row', 'tenant', turned), 'integrity')
    }
    assert.equal(column.open('row', 'tenant', sealed), 'a name')
  })

  it('is refused when it is cut off anywhere, or goes on', async (t) => {
    const column = sealedJson<string>(await (await createTestKeyring(t)).open(), 'box')
    const sealed = Buffer.from(column.seal('row', '', 'a name'))
    for (let size = 0; size < sealed.length; size += 1) {
      assertRefusedAtOnce(() => column.open('row', '', sealed.subarray(0, size)), 'integrity')
      assertRefusedAtOnce(() => column.open('row', '', sealed.subarray(size + 1)), 'integrity')
    }
    const longer = Buffer.concat([sealed, Buffer.alloc(1)])
    assertRefusedAtOnce(() => column.open('row', '', longer), 'integrity')
  })

  it('is refused in another row, for another tenant and in another table', async (t) => {
    const keyring = await (await createTestKeyring(t)).open()
    const column = sealedJson<string>(keyring, 'box')
    const sealed = column.seal('row', 'tenant', 'a name')
    assertRefusedAtOnce(() => column.open('other', 'tenant', sealed), 'integrity')
    assertRefusedAtOnce(() => column.open('row', 'other', sealed), 'integrity')
    assertRefusedAtOnce(() => column.open('row', '', sealed), 'integrity')
    assertRefusedAtOnce(() => column.open('tenant', 'row', sealed), 'integrity')
    const elsewhere = sealedJson<string>(keyring, 'company')
    assertRefusedAtOnce(() => elsewhere.open('row', 'tenant', sealed), 'integrity')
  })

  it('is refused under the key of another store', async (t) => {
    const one = sealedJson<string>(await (await createTestKeyring(t)).open(), 'box')
    const other = sealedJson<string>(await (await createTestKeyring(t)).open(), 'box')
    assertRefusedAtOnce(() => other.open('row', '', one.seal('row', '', 'a name')), 'integrity')
  })

  it('is refused when it claims another epoch, known or not', async (t) => {
    const files = await createTestKeyring(t)
    await files.addEpoch(2)
    const column = sealedJson<string>(await files.open(), 'box')
    const sealed = Buffer.from(column.seal('row', '', 'a name'))
    for (const epoch of [0, 1, 3, 0xffffffff]) {
      const claimed = Buffer.from(sealed)
      claimed.writeUInt32BE(epoch, 1)
      assertRefusedAtOnce(() => column.open('row', '', claimed), 'integrity')
    }
  })

  it('is refused when its epoch is no more in the keyring', async (t) => {
    const files = await createTestKeyring(t)
    const sealed = sealedJson<string>(await files.open(), 'box').seal('row', '', 'a name')
    await files.addEpoch(2)
    assert.equal(sealedJson<string>(await files.open(), 'box').open('row', '', sealed), 'a name')
    await rm(join(files.folder, 'keyring/1.age'))
    const column = sealedJson<string>(await files.open(), 'box')
    assertRefusedAtOnce(() => column.open('row', '', sealed), 'integrity')
  })
})
