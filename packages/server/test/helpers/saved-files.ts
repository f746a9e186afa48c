import assert from 'node:assert/strict'
import type { Server } from '../../src/server.ts'
import { type Answer, call } from './http.ts'
import { createBox, type SignedIn, signIn, type TestServer } from './server.ts'
import { rowsOf } from './store.ts'
import { storedFiles } from './stored.ts'

/** What the public web client sends: JSON text, not base64. */
export const METADATA =
  '{"nonce":"q1+/w2Hc4n8d0oYyI0mQm3zUu9c6o0Hk","ciphertext":{"type":"Uint8Array","encoding":"base64","value":"1PFa+Q/eJ5s0Zb8="}}'
/** The length of a SHA-512 in unpadded URL-safe base64. */
export const FINGERPRINT = `${'Zk3-h_'.repeat(14)}9w`

export interface SavedFileJson {
  id: string
  identity_id: string
  encrypted_file_id: string
  encrypted_metadata: string
  key_fingerprint: string
  created_at: string
}

/** Content that is stored in the database, and content that is stored on the disk. */
export const SIZES = { small: 1000, large: 70_000 } as const

/** What a client posts to save a file of a box. */
export function saving(who: SignedIn, fileId: string): Record<string, unknown> {
  return {
    encrypted_file_id: fileId,
    identity_id: who.id,
    encrypted_metadata: METADATA,
    key_fingerprint: FINGERPRINT,
  }
}

export function save(server: Server, who: SignedIn, fileId: string): Promise<Answer> {
  return call(server, 'POST', '/saved-files', { as: who, json: saving(who, fileId) })
}

/** Saves a file that can be saved, and answers the saved file's id. */
export async function saved(server: Server, who: SignedIn, fileId: string): Promise<string> {
  const answer = await save(server, who, fileId)
  assert.equal(answer.status, 201, `${answer.bytes}`)
  return (answer.body as SavedFileJson).id
}

/** The form of a direct upload, its parts in the order of real clients. */
export function savedFileForm(bytes: Uint8Array, fields: Record<string, string> = {}): FormData {
  const form = new FormData()
  form.append('encrypted_file', new Blob([bytes as Uint8Array<ArrayBuffer>]), 'blob')
  const texts = { encrypted_metadata: METADATA, key_fingerprint: FINGERPRINT, ...fields }
  for (const [name, value] of Object.entries(texts)) form.append(name, value)
  return form
}

export function saveUpload(server: Server, who: SignedIn, bytes: Uint8Array): Promise<Answer> {
  const path = `/box-users/${who.id}/saved-files`
  return call(server, 'POST', path, { as: who, body: savedFileForm(bytes) })
}

/** Uploads a file that can be saved, and answers the saved file. */
export async function savedUpload(
  server: Server,
  who: SignedIn,
  bytes: Uint8Array,
): Promise<SavedFileJson> {
  const answer = await saveUpload(server, who, bytes)
  assert.equal(answer.status, 201, `${answer.bytes}`)
  return answer.body as SavedFileJson
}

export function unsave(server: Server, who: SignedIn, savedId: string): Promise<Answer> {
  return call(server, 'DELETE', `/saved-files/${savedId}`, { as: who })
}

export async function listSaved(server: Server, who: SignedIn): Promise<SavedFileJson[]> {
  const answer = await call(server, 'GET', '/saved-files?limit=0', { as: who })
  assert.equal(answer.status, 200, `${answer.bytes}`)
  return answer.body as SavedFileJson[]
}

export function post(
  server: Server,
  who: SignedIn,
  boxId: string,
  event: Record<string, unknown>,
): Promise<Answer> {
  return call(server, 'POST', `/boxes/${boxId}/events`, { as: who, json: event })
}

export function deleteMessage(
  server: Server,
  who: SignedIn,
  boxId: string,
  eventId: string,
): Promise<Answer> {
  return post(server, who, boxId, { type: 'msg.delete', referrer_id: eventId })
}

export function deleteBox(server: Server, who: SignedIn, boxId: string): Promise<Answer> {
  const json = { user_confirmation: 'delete' }
  return call(server, 'DELETE', `/boxes/${boxId}`, { as: who, json })
}

export function download(server: Server, who: SignedIn, fileId: string): Promise<Answer> {
  return call(server, 'GET', `/encrypted-files/${fileId}`, { as: who })
}

/** A box that anybody may join, with its members. */
export async function createOpenBox(
  server: Server,
  creator: SignedIn,
  ...members: SignedIn[]
): Promise<string> {
  const box = await createBox(server, creator)
  await server.core.boxes.setAccessMode(creator.id, box, 'public')
  for (const { id } of members) await server.core.boxes.join(id, box)
  return box
}

/** Ann's box, which Bob is a member of and Cid is not; each of them has another. */
export async function createSharedBox(server: Server) {
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const cid = await signIn(server, 'Cid Example')
  for (const who of [bob, cid]) await createBox(server, who)
  const box = await createOpenBox(server, ann, bob)
  return { ann, bob, cid, box }
}

/**
 * The ids of all files whose bytes are there, sorted: on the disk, or in the database when they are
 * small. Asserts that nothing else is there: no half-deleted, unfinished or unnamed content.
 */
export async function filesWithBytes(server: TestServer): Promise<string[]> {
  const column = async (sql: string) =>
    (await rowsOf(server.config, sql)).map((row) => String(row.value))
  const blobs = await column(`select id || ' ' || state as value from blob order by 1`)
  const parts = await column(`select blob_id || '.' || number as value from blob_part order by 1`)
  const small = await column('select blob_id as value from small_content order by 1')
  const onDisk = new Set(await storedFiles(server))
  assert.deepEqual(onDisk, new Set(parts), 'the disk has what the rows name')
  const ids = [...small, ...parts.map((part) => part.replace(/\.\d+$/, ''))].sort()
  assert.deepEqual(
    blobs,
    ids.map((id) => `${id} stored`),
    'every blob has its content',
  )
  return ids
}
