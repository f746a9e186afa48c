import assert from 'node:assert/strict'
import { appendFile, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { describe, it, type TestContext } from 'node:test'
import { generateIdentity, open, parseIdentity, seal } from '@holdfast/seal'
import type { StoredBlob } from '../../src/core/blobs/blobs.ts'
import { CoreError } from '../../src/core/errors.ts'
import { createKeeper, fileOf, keep } from '../helpers/blobs.ts'
import { pattern } from '../helpers/bytes.ts'
import { openTestStore, rowsOf, type TestStore, tamper } from '../helpers/store.ts'

const CHUNK = 65_536
const SEALED_CHUNK = CHUNK + 16
const NONCE = 16
const SIZE = 3 * CHUNK + 1000

describe('a stored file', { concurrency: 4 }, () => {
  it('gives no wrong byte when a bit of it is turned anywhere', async (t) => {
    const { store, blob, bytes } = await storeWithFile(t)
    const file = fileOf(store, blob.id)
    const whole = await readFile(file)
    const { payload, size } = layout(whole)
    const chunk = (number: number) => payload + number * SEALED_CHUNK
    const spots = {
      header: range(0, payload - NONCE, process.env.SLOW === '1' ? 1 : 5),
      nonce: range(payload - NONCE, payload, 3),
      'first chunk': [chunk(0), chunk(0) + 1, chunk(0) + CHUNK - 1],
      'tag of the first chunk': range(chunk(0) + CHUNK, chunk(1), 5),
      'middle chunk': [chunk(1), chunk(1) + 30_000, chunk(2) - 1],
      'last chunk': [chunk(3), chunk(3) + 999],
      'last tag': range(size - 16, size, 5),
    }
    for (const [place, positions] of Object.entries(spots)) {
      for (const at of positions) {
        const turned = Buffer.from(whole)
        turned[at] = (turned[at] ?? 0) ^ (1 << (at % 8))
        await writeFile(file, turned)
        const sound = Math.max(0, Math.floor((at - payload) / SEALED_CHUNK)) * CHUNK
        const released = await assertNoWrongByte(store, blob, bytes, `byte ${at}, ${place}`)
        assert.ok(released <= sound, `${released} bytes released, of which ${sound} are sound`)
      }
    }
    await writeFile(file, whole)
    assert.equal(await readAll(store, blob, bytes), SIZE)
  })

  it('gives nothing at all when it is cut off anywhere, also between chunks', async (t) => {
    const { store, blob, bytes } = await storeWithFile(t)
    const file = fileOf(store, blob.id)
    const whole = await readFile(file)
    const { payload, size } = layout(whole)
    const borders = [0, 1, 2, 3].map((number) => payload + number * SEALED_CHUNK)
    for (const to of [size - 1, ...borders.reverse(), payload - NONCE, 100, 1, 0]) {
      await truncate(file, to)
      const released = await assertNoWrongByte(store, blob, bytes, `cut off after ${to}`)
      assert.equal(released, 0)
    }
  })

  it('gives nothing at all when bytes were added to it', async (t) => {
    const { store, blob, bytes } = await storeWithFile(t)
    const file = fileOf(store, blob.id)
    const whole = await readFile(file)
    for (const more of [1, 16, SEALED_CHUNK]) {
      await writeFile(file, whole)
      await appendFile(file, whole.subarray(0, more))
      assert.equal(await assertNoWrongByte(store, blob, bytes, `with ${more} more`), 0)
    }
  })

  it('gives no wrong byte when its chunks were put in another order or doubled', async (t) => {
    const { store, blob, bytes } = await storeWithFile(t)
    const file = fileOf(store, blob.id)
    const whole = await readFile(file)
    const { payload } = layout(whole)
    const head = whole.subarray(0, payload)
    const chunks = [0, 1, 2, 3].map((number) =>
      whole.subarray(payload + number * SEALED_CHUNK, payload + (number + 1) * SEALED_CHUNK),
    )
    const orders = [
      [1, 0, 2, 3],
      [0, 2, 1, 3],
      [0, 0, 2, 3],
      [0, 1, 1, 3],
    ]
    for (const order of orders) {
      await writeFile(file, Buffer.concat([head, ...order.map((at) => chunks[at] as Buffer)]))
      await assertNoWrongByte(store, blob, bytes, `chunks ${order}`)
    }
  })

  it('is missed when it is gone', async (t) => {
    const { store, blob, bytes } = await storeWithFile(t)
    await rm(fileOf(store, blob.id))
    await assertNoWrongByte(store, blob, bytes, 'gone')
  })

  it('gives nothing in the place of another of the same size', async (t) => {
    const { store, blob, bytes, keeper } = await storeWithFile(t)
    const otherBytes = pattern(SIZE, 2)
    const other = await keep(store, keeper, Buffer.from(otherBytes))
    const [one, two] = [fileOf(store, blob.id), fileOf(store, other.id)]
    await rename(one, `${one}.swap`)
    await rename(two, one)
    await rename(`${one}.swap`, two)
    assert.equal(await assertNoWrongByte(store, blob, bytes, 'swapped'), 0)
    assert.equal(await assertNoWrongByte(store, other, otherBytes, 'swapped'), 0)
  })

  it('gives nothing when it is another that was sealed to the same key', async (t) => {
    const { store, blob, bytes } = await storeWithFile(t)
    const file = fileOf(store, blob.id)
    const recipient = await currentRecipient(store)
    await writeFile(file, seal([recipient], pattern(SIZE, 3)))
    assert.equal(await assertNoWrongByte(store, blob, bytes, 'forged'), 0)
    await writeFile(file, seal([recipient], bytes))
    assert.equal(await assertNoWrongByte(store, blob, bytes, 'the same content, sealed anew'), 0)
    await writeFile(file, seal([generateIdentity('x25519').recipient], bytes))
    assert.equal(await assertNoWrongByte(store, blob, bytes, 'sealed to somebody else'), 0)
  })
})

describe('a row of stored content', { concurrency: 4 }, () => {
  it('gives nothing when it stands in the place of another', async (t) => {
    const { store, blob, bytes, keeper } = await storeWithFile(t)
    const otherBytes = pattern(SIZE, 2)
    const other = await keep(store, keeper, Buffer.from(otherBytes))
    await swapColumns(store, 'blob_part', 'sealed', blob.id, other.id)
    assert.equal(await assertNoWrongByte(store, blob, bytes, 'rows swapped'), 0)

    const [one, two] = [fileOf(store, blob.id), fileOf(store, other.id)]
    await rename(one, `${one}.swap`)
    await rename(two, one)
    await rename(`${one}.swap`, two)
    assert.equal(await assertNoWrongByte(store, blob, bytes, 'rows and files swapped'), 0)
    assert.equal(await assertNoWrongByte(store, other, otherBytes, 'rows and files swapped'), 0)
  })

  it('of small content gives nothing in the place of another', async (t) => {
    const { store, keeper } = await storeWithFile(t)
    const [a, b] = [pattern(1000, 4), pattern(1000, 5)]
    const one = await keep(store, keeper, Buffer.from(a))
    const other = await keep(store, keeper, Buffer.from(b))
    await swapColumns(store, 'small_content', 'sealed', one.id, other.id)
    assert.equal(await assertNoWrongByte(store, one, a, 'swapped'), 0)
    assert.equal(await assertNoWrongByte(store, other, b, 'swapped'), 0)
  })

  it('of small content gives nothing when a bit of it is turned or it is cut off', async (t) => {
    const { store, keeper } = await storeWithFile(t)
    const bytes = pattern(1000, 4)
    const blob = await keep(store, keeper, Buffer.from(bytes))
    const sealed = await sealedOf(store, 'small_content', blob.id)
    for (const at of [0, 1, 4, 5, 16, 17, 500, sealed.length - 17, sealed.length - 1]) {
      const turned = Buffer.from(sealed)
      turned[at] = (turned[at] ?? 0) ^ 1
      await setSealed(store, 'small_content', blob.id, turned)
      assert.equal(await assertNoWrongByte(store, blob, bytes, `byte ${at}`), 0)
    }
    for (const size of [0, 16, 33, 500, sealed.length - 1]) {
      await setSealed(store, 'small_content', blob.id, sealed.subarray(0, size))
      assert.equal(await assertNoWrongByte(store, blob, bytes, `cut off after ${size}`), 0)
    }
  })

  it('gives nothing when it is missing', async (t) => {
    const { store, keeper, blob, bytes } = await storeWithFile(t)
    const small = pattern(1000, 4)
    const other = await keep(store, keeper, Buffer.from(small))
    await tamper(store.config, 'delete from blob_part; delete from small_content')
    assert.equal(await assertNoWrongByte(store, blob, bytes, 'no part'), 0)
    assert.equal(await assertNoWrongByte(store, other, small, 'no small content'), 0)
  })

  const edits = [
    'update blob_part set plain_size = plain_size - 1',
    'update blob_part set plain_size = plain_size + 1',
    'update blob_part set plain_size = 65536',
    'update blob_part set sealed_size = sealed_size - 1',
    'update blob_part set sealed_size = 0',
    'update blob_part set epoch = 2',
    'update blob_part set epoch = 0',
    'update blob_part set number = 2',
    'update blob_part set number = 0',
    'update blob_part set sealed = substr(sealed, 1, 0)',
    'update blob_part set sealed = substr(sealed, 2)',
  ]
  it('gives nothing after any of its columns was changed', async (t) => {
    const { store, blob, bytes } = await storeWithFile(t)
    await tamper(store.config, 'create table kept as select * from blob_part')
    for (const edit of edits) {
      await tamper(store.config, edit)
      assert.equal(await assertNoWrongByte(store, blob, bytes, edit), 0)
      await tamper(store.config, 'delete from blob_part; insert into blob_part select * from kept')
    }
    assert.equal(await readAll(store, blob, bytes), SIZE)
  })

  it('gives nothing when the blob is said to have another size', async (t) => {
    const { store, blob, bytes, keeper } = await storeWithFile(t)
    const small = pattern(1000, 4)
    const other = await keep(store, keeper, Buffer.from(small))
    for (const size of [0, 1, CHUNK, SIZE - 1, SIZE + 1, 10 * SIZE]) {
      await tamper(store.config, `update blob set size = ${size}`)
      // What the row says is what a request is answered with.
      for (const [id, truth] of [
        [blob.id, bytes],
        [other.id, small],
      ] as const) {
        assert.equal(await assertNoWrongByte(store, { id, size }, truth, `${size} bytes`), 0)
      }
    }
  })

  it('gives nothing after a second part was made up for it', async (t) => {
    const { store, blob, bytes } = await storeWithFile(t)
    await tamper(
      store.config,
      `insert into blob_part
          select blob_id, 2, plain_size, sealed_size, epoch, sealed, object || '.2' from blob_part`,
    )
    assert.equal(await assertNoWrongByte(store, blob, bytes, 'two parts'), 0)
  })
})

async function storeWithFile(t: TestContext) {
  const store = await openTestStore(t)
  const keeper = await createKeeper(store)
  const bytes = pattern(SIZE)
  const blob = await keep(store, keeper, Buffer.from(bytes))
  return { store, keeper, bytes, blob }
}

/** Reads until it is refused, which it has to be, and answers how many bytes were released: all of them right. */
async function assertNoWrongByte(
  store: TestStore,
  blob: StoredBlob,
  truth: Uint8Array,
  what: string,
): Promise<number> {
  for (const [start, end] of [
    [0, blob.size],
    [0, Math.min(10, blob.size)],
    [Math.max(0, blob.size - 10), blob.size],
  ] as const) {
    const outcome = await readRange(store, blob, start, end)
    const expected = truth.subarray(start, start + outcome.bytes.length)
    assert.ok(outcome.bytes.equals(expected), `${what}: a wrong byte was released`)
    if (start === 0 && end === blob.size) {
      assert.ok(outcome.error, `${what}: nothing was noticed`)
      assertIntegrity(outcome.error, what)
    }
  }
  return (await readRange(store, blob, 0, blob.size)).bytes.length
}

async function readAll(store: TestStore, blob: StoredBlob, truth: Uint8Array): Promise<number> {
  const { bytes, error } = await readRange(store, blob, 0, blob.size)
  assert.equal(error, undefined)
  assert.ok(bytes.equals(truth))
  return bytes.length
}

async function readRange(store: TestStore, blob: StoredBlob, start: number, end: number) {
  const pieces: Uint8Array[] = []
  try {
    for await (const piece of store.core.blobs.read(blob, start, end)) pieces.push(piece)
    return { bytes: Buffer.concat(pieces), error: undefined }
  } catch (error) {
    return { bytes: Buffer.concat(pieces), error }
  }
}

function assertIntegrity(error: unknown, what: string): void {
  assert.ok(error instanceof CoreError, `${what}: ${error} is no refusal of the core`)
  assert.ok(['integrity', 'file_not_found'].includes(error.code), `${what}: ${error.code}`)
}

/** Where the payload of a sealed file begins, and how long it is. */
function layout(whole: Buffer): { payload: number; size: number } {
  const mac = whole.indexOf('\n--- ') + 1
  return { payload: whole.indexOf('\n', mac) + 1 + NONCE, size: whole.length }
}

function range(from: number, to: number, step: number): number[] {
  return Array.from({ length: Math.ceil((to - from) / step) }, (_, index) => from + index * step)
}

async function swapColumns(
  { config }: TestStore,
  table: string,
  column: string,
  one: string,
  other: string,
): Promise<void> {
  const get = `select ${column} as value from ${table} where blob_id = ?`
  const set = `update ${table} set ${column} = ? where blob_id = ?`
  const [a] = await rowsOf<{ value: Uint8Array }>(config, get, one)
  const [b] = await rowsOf<{ value: Uint8Array }>(config, get, other)
  await tamper(config, set, b?.value ?? null, one)
  await tamper(config, set, a?.value ?? null, other)
}

async function sealedOf(store: TestStore, table: string, blobId: string): Promise<Buffer> {
  const row = (
    await rowsOf(store.config, `select sealed from ${table} where blob_id = ?`, blobId)
  )[0]
  return Buffer.from(row?.sealed as Uint8Array)
}

async function setSealed(
  store: TestStore,
  table: string,
  blobId: string,
  sealed: Uint8Array,
): Promise<void> {
  await tamper(store.config, `update ${table} set sealed = ? where blob_id = ?`, sealed, blobId)
}

/** The public key that blobs are sealed to, found with the root key. */
async function currentRecipient(store: TestStore) {
  const key = (await readFile(store.config.rootKeyFile, 'utf8')).trim().split('\n').at(-1) ?? ''
  const epoch = await readFile(`${store.config.data}/keyring/1.age`)
  const identity = Buffer.from(open([parseIdentity(key)], epoch)).toString()
  return parseIdentity(identity.split('\n')[1] ?? '').recipient
}
