/**
 * Somebody changes stored objects behind the server's back. Whatever he does and however a file is asked
 * for: what arrives are right bytes up to some point, an answer that lacks some never ends like a whole
 * one, and the failure is counted for the dialect and logged with the object's name.
 */
import assert from 'node:assert/strict'
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { open, parseIdentity, seal } from '@holdfast/seal'
import { readyDownload } from '../../packages/server/test/helpers/account.ts'
import { pattern } from '../../packages/server/test/helpers/bytes.ts'
import { chunkQuery, client, createApp } from '../../packages/server/test/helpers/companies.ts'
import type { TestServer } from '../../packages/server/test/helpers/server.ts'
import { rowsOf } from '../../packages/server/test/helpers/store.ts'
import {
  type Received,
  receive,
  startTenants,
  type Tenant,
  type TenantFile,
} from '../../packages/server/test/helpers/tenants.ts'

const CHUNK = 65_536
const SEALED_CHUNK = CHUNK + 16
const NONCE = 16

/** What an attacker makes of an object; he has another one of the same size, and the public recipient. */
type Attack = (own: Buffer, other: Buffer) => Promise<Buffer | undefined> | Buffer | undefined

test('no damage of a stored object lets a wrong byte out, in any dialect and any kind of read', async (t) => {
  const { server, ann, bob } = await startTenants(t)
  const recipient = await currentRecipient(server)
  const flipped =
    (at: (object: Buffer) => number): Attack =>
    (own) => {
      const turned = Buffer.from(own)
      const place = at(own)
      turned[place] = (turned[place] ?? 0) ^ 1
      return turned
    }
  const attacks: Record<string, Attack> = {
    'a bit of the header': flipped(() => 30),
    'a bit of the nonce': flipped((object) => payloadOf(object) - 1),
    'a bit of the first chunk': flipped((object) => payloadOf(object) + 5),
    'a bit of the second chunk': flipped((object) => payloadOf(object) + SEALED_CHUNK + 5),
    'a bit of the last chunk': flipped((object) => object.length - 20),
    'a bit of the last tag': flipped((object) => object.length - 1),
    'nothing of it': () => Buffer.alloc(0),
    'the header alone': (own) => own.subarray(0, payloadOf(own)),
    'its first chunk alone': (own) => own.subarray(0, payloadOf(own) + SEALED_CHUNK),
    'all but its last chunk': (own) => own.subarray(0, lastChunkOf(own)),
    'all but its last byte': (own) => own.subarray(0, -1),
    'one byte more': (own) => Buffer.concat([own, Buffer.alloc(1)]),
    'its first two chunks changed about': (own) => {
      const from = payloadOf(own)
      const [one, two] = [from + SEALED_CHUNK, from + 2 * SEALED_CHUNK]
      return Buffer.concat([
        own.subarray(0, from),
        own.subarray(one, two),
        own.subarray(from, one),
        own.subarray(two),
      ])
    },
    'the object of somebody else': (_own, other) => other,
    'the header of another object': (own, other) =>
      Buffer.concat([other.subarray(0, payloadOf(other)), own.subarray(payloadOf(own))]),
    'other content, sealed to the same key': (own) =>
      Buffer.from(seal([recipient], pattern(plainSizeOf(own), 99))),
    'no object': () => undefined,
  }
  for (const [index, file] of ann.files.entries()) {
    const other = bob.files[index] as TenantFile
    const [object] = await objectsOf(server, file)
    const [otherObject] = await objectsOf(server, other)
    if (!object || !otherObject) continue
    const path = join(server.config.data, object)
    const own = await readFile(path)
    const others = await readFile(join(server.config.data, otherObject))
    for (const [what, attack] of Object.entries(attacks)) {
      const damaged = await attack(own, others)
      if (damaged) await writeFile(path, damaged)
      else await rm(path)
      await assertNoticed(server, ann, file, object, `${file.name}, ${what}`)
      await writeFile(path, own)
    }
    assert.ok((await receive(server, file)).bytes.equals(file.truth), `${file.name}, put right`)
  }
})

test('a chunk that is sent again is not called the same when what is stored is damaged', async (t) => {
  const { server, ann } = await startTenants(t)
  const file = largeFile(ann, 'twake')
  const member = client(server, { id: ann.companyId }, ann.actor)
  const chunk = file.truth.subarray(0, 2 * CHUNK)
  const again = () => member.send(file.id, chunk, chunkQuery(1, 2, file.truth.length))
  assert.equal((await again()).status, 200)
  const path = join(server.config.data, String((await objectsOf(server, file))[0]))
  const own = await readFile(path)
  await writeFile(path, own.subarray(0, -1))
  assert.equal((await again()).status, 500)
  assert.equal(await failures(server, 'twake'), 1)
})

test('what was overwritten does not come back when its object is put in the place of the new one', async (t) => {
  const { server, ann } = await startTenants(t)
  const file = largeFile(ann, 'twake')
  const app = client(
    server,
    { id: ann.companyId },
    await createApp(server, ann.companyId, 'Editor'),
  )
  const [old] = await objectsOf(server, file)
  const kept = join(server.config.data, 'kept')
  await copyFile(join(server.config.data, String(old)), kept)
  const newer = pattern(file.truth.length, 77)
  for (const [number, chunk] of [
    newer.subarray(0, 2 * CHUNK),
    newer.subarray(2 * CHUNK),
  ].entries()) {
    assert.equal(
      (await app.send(file.id, chunk, chunkQuery(number + 1, 2, newer.length))).status,
      200,
    )
  }
  const overwritten = { ...file, truth: newer }
  assert.ok((await receive(server, file)).bytes.equals(newer))
  const [object] = await objectsOf(server, file)
  await copyFile(kept, join(server.config.data, String(object)))
  await assertNoticed(server, ann, overwritten, String(object), 'an older object')
})

/** Asks for a file in every way; the whole of it never comes, and each failure leaves its trace. */
async function assertNoticed(
  server: TestServer,
  tenant: Tenant,
  file: TenantFile,
  object: string,
  what: string,
): Promise<void> {
  const { truth } = file
  const before = await failures(server, file.dialect)
  server.logged.length = 0
  const whole = await receive(server, file)
  assertPrefix(whole, truth, what)
  assert.ok(whole.status === 500 || !whole.whole, `${what}: ended like a whole answer`)
  let noticed = 1
  for (const [start, end] of [
    [0, 9],
    [CHUNK - 5, CHUNK + 5],
    [truth.length - 10, truth.length - 1],
  ] as const) {
    const range = await receive(server, file, { range: `bytes=${start}-${end}` })
    assertPrefix(range, truth.subarray(start, end + 1), `${what}, bytes ${start} to ${end}`)
    if (range.status === 500 || !range.whole) noticed += 1
  }
  const head = await receive(server, file, {}, 'HEAD')
  assert.equal(head.bytes.length, 0)
  if (file.dialect === 'privasfer') {
    const owner = {
      ...tenant.actor,
      email: '',
      headers: { authorization: String(file.headers.authorization) },
    }
    const { path } = await readyDownload(server, owner, file.id, file.id)
    const zip = await receive(server, { path, headers: {} })
    assert.equal(zip.whole, false, `${what}: the archive ended like a whole one`)
    noticed += 1
  }
  assert.equal((await failures(server, file.dialect)) - before, noticed, `${what}: counted`)
  const lines = server.logged.filter(({ msg, level }) => msg === 'failed' && level === 50)
  assert.equal(lines.length, noticed, `${what}: logged`)
  for (const line of lines) {
    const text = JSON.stringify(line)
    assert.ok(text.includes(object), `${what}: the log names the object: ${text}`)
    const piece = truth.subarray(0, 12)
    for (const encoding of ['latin1', 'hex', 'base64'] as const) {
      assert.ok(!text.includes(piece.toString(encoding)), `${what}: content in the log`)
    }
  }
}

function assertPrefix({ status, bytes }: Received, truth: Buffer, what: string): void {
  if (status === 200 || status === 206) {
    assert.ok(bytes.equals(truth.subarray(0, bytes.length)), `${what}: a wrong byte came`)
  } else {
    assert.equal(status, 500, what)
    assert.ok(!bytes.includes(truth.subarray(0, 10)), `${what}: content in a refusal`)
  }
}

async function failures(server: TestServer, dialect: string): Promise<number> {
  const { values } = await server.app.metrics.integrityFailures.get()
  return values.find(({ labels }) => labels.dialect === dialect)?.value ?? 0
}

function largeFile({ files }: Tenant, dialect: string): TenantFile {
  const found = files.find((file) => file.dialect === dialect && file.truth.length > CHUNK)
  assert.ok(found)
  return found
}

/** Names of the objects of a file's content, in their order; none when the database holds it. */
async function objectsOf({ config }: TestServer, { dialect, id }: TenantFile): Promise<string[]> {
  const table = { privasfer: 'account_file', twake: 'company_file', misakey: 'blob' }[dialect]
  const blob = dialect === 'misakey' ? 'id' : 'blob_id'
  const rows = await rowsOf<{ object: string }>(
    config,
    `select object from blob_part where blob_id = (select ${blob} from ${table} where id = ?)
      order by number`,
    id,
  )
  return rows.map(({ object }) => object)
}

function payloadOf(object: Buffer): number {
  const mac = object.indexOf('\n--- ') + 1
  return object.indexOf('\n', mac) + 1 + NONCE
}

function lastChunkOf(object: Buffer): number {
  const payload = payloadOf(object)
  return payload + Math.floor((object.length - payload - 1) / SEALED_CHUNK) * SEALED_CHUNK
}

function plainSizeOf(object: Buffer): number {
  const payload = object.length - payloadOf(object)
  return payload - 16 * Math.ceil(payload / SEALED_CHUNK)
}

/** The public key that blobs are sealed to, found with the root key. */
async function currentRecipient({ config }: TestServer) {
  const key = (await readFile(config.rootKeyFile, 'utf8')).trim().split('\n').at(-1) ?? ''
  const epoch = await readFile(join(config.data, 'keyring/1.age'))
  const identity = Buffer.from(open([parseIdentity(key)], epoch)).toString()
  return parseIdentity(identity.split('\n')[1] ?? '').recipient
}
