import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Failpoint } from '../packages/server/src/core/failpoints.ts'
import { fileForm } from '../packages/server/test/helpers/account.ts'
import { assertSameBytes, pattern as newPattern } from '../packages/server/test/helpers/bytes.ts'
import {
  bearer,
  chunkQuery,
  client,
  filesPath,
  resourceOf,
} from '../packages/server/test/helpers/companies.ts'
import { type Answer, call } from '../packages/server/test/helpers/http.ts'
import { PUBLIC_KEY, uploadForm } from '../packages/server/test/helpers/server.ts'
import type { Place } from './place.ts'

/** What an API answers when the store is full (507) or out of reach (503). */
export type Refusal = (status: number) => unknown

/** A request of a client that changes something, and what it then may rely on. */
export interface Operation {
  readonly name: string
  readonly refusal: Refusal
  /** Every step that it passes, in the order of the first time. */
  readonly steps: readonly Failpoint[]
  /** Makes what the request needs. */
  begin(place: Place): Promise<Attempt>
}

export interface Attempt {
  /** Sends the request, again and again the same one. Rejects when the connection is cut. */
  send(): Promise<Answer>
  /**
   * Holds what can be seen against what is promised.
   *
   * @param acknowledged whether `send` was answered well; otherwise all of it may be there or nothing
   */
  check(acknowledged: boolean): Promise<void>
  /** Goes on after a request that was one of several. */
  finish?(): Promise<void>
}

/** Whether a request was answered as done: a deletion also when there is nothing left to delete. */
export function isAcknowledged({ status }: Answer): boolean {
  return status < 300 || status === 404 || status === 410
}

const KIB = 1024
const SMALL = 5 * KIB
/** More than one group of writes. */
export const LARGE = 1300 * KIB
const CHUNK = 1200 * KIB
const CHUNKS = 3

const patterns = new Map<string, Buffer>()

/** The same bytes for the same numbers. */
export function pattern(size: number, seed: number): Buffer {
  const name = `${size} ${seed}`
  const known = patterns.get(name) ?? newPattern(size, seed)
  patterns.set(name, known)
  return known
}

/** A file that a client has found. */
interface Found {
  content(): Promise<Answer>
  remove(): Promise<Answer>
}

/** A form that is sent. */
interface UploadRequest {
  readonly path: string
  readonly headers: Record<string, string>
  readonly body: FormData
}

/** How clients of one API keep files. */
export interface Kind {
  readonly name: string
  readonly refusal: Refusal
  upload(place: Place, bytes: Uint8Array, tag: string): UploadRequest
  /** Every file of that tag that its owner can see. @param answers to its uploads */
  find(place: Place, tag: string, answers: readonly Answer[]): Promise<Found[]>
}

const misakey: Refusal = () => ({
  code: 'service_unavailable',
  origin: 'not_defined',
  desc: '',
  details: {},
})
const privasfer: Refusal = (status) => ({ message: STATUS_CODES[status] })
const twake: Refusal = (statusCode) => ({
  statusCode,
  error: STATUS_CODES[statusCode],
  message: 'Something went wrong',
})

const boxFile: Kind = {
  name: 'box file',
  refusal: misakey,
  upload: ({ ann, boxId }, bytes, tag) => ({
    path: `/boxes/${boxId}/encrypted-files`,
    headers: ann.headers,
    body: uploadForm(bytes, tag),
  }),
  async find(place, tag) {
    const { ann, boxId } = place
    const { body } = await call(place.server, 'GET', `/boxes/${boxId}/events?limit=0`, { as: ann })
    const events = body as { id: string; content: Record<string, string> | null }[]
    return events
      .filter(({ content }) => content?.encrypted === tag)
      .map(({ id, content }) => ({
        content: () =>
          call(place.server, 'GET', `/encrypted-files/${content?.encrypted_file_id}`, { as: ann }),
        remove: () =>
          call(place.server, 'POST', `/boxes/${boxId}/events`, {
            as: ann,
            json: { type: 'msg.delete', referrer_id: id },
          }),
      }))
  },
}

const savedFile: Kind = {
  name: 'saved file',
  refusal: misakey,
  upload({ ann }, bytes, tag) {
    const body = new FormData()
    body.append('encrypted_file', new Blob([bytes as Uint8Array<ArrayBuffer>]), 'blob')
    body.append('encrypted_metadata', tag)
    body.append('key_fingerprint', PUBLIC_KEY)
    return { path: `/box-users/${ann.id}/saved-files`, headers: ann.headers, body }
  },
  async find(place, tag) {
    const { ann } = place
    const path = `/saved-files?identity_id=${ann.id}&limit=0`
    const { body } = await call(place.server, 'GET', path, { as: ann })
    const files = body as { id: string; encrypted_file_id: string; encrypted_metadata: string }[]
    return files
      .filter((file) => file.encrypted_metadata === tag)
      .map(({ id, encrypted_file_id }) => ({
        content: () =>
          call(place.server, 'GET', `/encrypted-files/${encrypted_file_id}`, { as: ann }),
        remove: () => call(place.server, 'DELETE', `/saved-files/${id}`, { as: ann }),
      }))
  },
}

const accountFile: Kind = {
  name: 'account file',
  refusal: privasfer,
  upload: ({ owner }, bytes, tag) => ({
    path: '/api/files',
    headers: owner.headers,
    body: fileForm(bytes, `${tag}.bin`),
  }),
  async find(place, tag) {
    const { owner } = place
    const query = new URLSearchParams({ 'filter[full_filename]': `${tag}.bin` })
    const { body } = await call(place.server, 'GET', `/api/files?${query}`, {
      headers: owner.headers,
    })
    const { data } = body as { data: { id: string; full_filename: string; trashed: boolean }[] }
    return data
      .filter((file) => file.full_filename === `${tag}.bin` && !file.trashed)
      .map(({ id }) => ({
        content: () => accountContent(place, id),
        remove: () => call(place.server, 'DELETE', `/api/files/${id}`, { headers: owner.headers }),
      }))
  },
}

/** The documented way to a download. */
async function accountContent({ server, owner, pinKey }: Place, id: string): Promise<Answer> {
  const { headers } = owner
  const made = await call(server, 'POST', '/api/downloads', { headers, json: { files: [id] } })
  if (made.status !== 201) return made
  const download = (made.body as { data: { id: string } }).data
  const keyed = await call(server, 'POST', `/api/downloads/${download.id}/keys`, {
    headers,
    json: { pinKey },
  })
  if (keyed.status !== 201) return keyed
  const { key } = (keyed.body as { data: { key: string } }).data
  return call(server, 'GET', `/download/${download.id}/${key}`)
}

/** Whose id only the answer to the upload tells. */
const companyFile: Kind = {
  name: 'company file',
  refusal: twake,
  upload: ({ company }, bytes, tag) => ({
    path: `${filesPath(company)}?filename=${tag}`,
    headers: bearer(company.app),
    body: fileForm(bytes, tag),
  }),
  async find(place, _tag, answers) {
    const app = () => client(place.server, place.company, place.company.app)
    return answers.map((answer) => {
      const { id } = resourceOf(answer)
      return { content: () => app().download(id), remove: () => app().remove(id) }
    })
  },
}

function send(place: Place, kind: Kind, bytes: Uint8Array, tag: string): Promise<Answer> {
  const { path, ...request } = kind.upload(place, bytes, tag)
  return call(place.server, 'POST', path, request)
}

/** A file that was acknowledged. */
export interface Stored {
  readonly kind: Kind
  /** Holds what is read now against what was stored. */
  check(place: Place): Promise<void>
}

/** A small and a large file of each kind. */
export async function storeEachKind(place: Place): Promise<Stored[]> {
  const files: Stored[] = []
  for (const kind of KINDS) {
    files.push(await store(place, kind, SMALL), await store(place, kind, LARGE))
  }
  return files
}

export async function store(place: Place, kind: Kind, size: number): Promise<Stored> {
  const { answer, stored } = await trySend(place, kind, size)
  assert.ok(stored, `${answer.status} ${answer.bytes}`)
  return stored
}

/** @returns nothing stored when it was refused */
export async function trySend(
  place: Place,
  kind: Kind,
  size: number,
): Promise<{ answer: Answer; stored: Stored | undefined }> {
  const tag = newTag()
  const bytes = pattern(size, 30)
  const answer = await send(place, kind, bytes, tag)
  if (answer.status >= 300) return { answer, stored: undefined }
  const stored: Stored = {
    kind,
    async check(now) {
      const found = await kind.find(now, tag, [answer])
      assert.equal(found.length, 1, `the ${kind.name} is there`)
      for (const file of found) await assertContent(file, bytes)
    },
  }
  return { answer, stored }
}

/** Every API through which files come. */
export const KINDS: readonly Kind[] = [boxFile, savedFile, accountFile, companyFile]

export const newTag = () => randomUUID().replaceAll('-', '')

const RECEIVING = ['form.file-begun'] as const
const OBJECT = [
  ...['object.created', 'object.writing', 'object.written', 'object.synced'],
  ...['object.renamed', 'object.durable'],
] as Failpoint[]
const TRANSACTION = [
  ...['transaction.worked', 'transaction.committed', 'transaction.durable'],
] as Failpoint[]

function upload(kind: Kind, size: number): Operation {
  const isSmall = size === SMALL
  return {
    name: `upload: ${kind.name}, ${isSmall ? 'small' : 'large'}`,
    refusal: kind.refusal,
    steps: [
      ...RECEIVING,
      ...(isSmall ? [] : OBJECT),
      ...(['form.received', 'blob.staged', 'blob.inserted'] as const),
      ...TRANSACTION,
    ],
    async begin(place) {
      const tag = newTag()
      const bytes = pattern(size, 7)
      const answers: Answer[] = []
      return {
        async send() {
          const answer = await send(place, kind, bytes, tag)
          if (isAcknowledged(answer)) answers.push(answer)
          return answer
        },
        async check(acknowledged) {
          const found = await kind.find(place, tag, answers)
          if (acknowledged) assert.ok(found.length > 0, 'an acknowledged file is there')
          for (const file of found) await assertContent(file, bytes)
        },
      }
    },
  }
}

function remove(kind: Kind, size: number): Operation {
  const isSmall = size === SMALL
  const removal = ['blob.unlinked', 'object.removed', 'blob.emptied'] as const
  return {
    name: `delete: ${kind.name}, ${isSmall ? 'small' : 'large'}`,
    refusal: kind.refusal,
    steps: ['blob.released', ...TRANSACTION, ...(isSmall ? [] : removal)],
    async begin(place) {
      const tag = newTag()
      const bytes = pattern(size, 8)
      const answer = await send(place, kind, bytes, tag)
      const [file] = await kind.find(place, tag, [answer])
      assert.ok(file, `${answer.status}: the file to delete is there`)
      // The server may listen elsewhere by the time it is looked at.
      const now = async () => (await kind.find(place, tag, [answer]))[0] ?? file
      return {
        send: async () => (await now()).remove(),
        async check(acknowledged) {
          const content = await (await now()).content()
          if (content.status === 200) {
            assert.ok(!acknowledged, 'deleted means deleted')
            assertSameBytes(content.bytes, bytes)
          } else assert.ok([404, 422].includes(content.status), `${content.status}`)
        },
      }
    },
  }
}

/** One chunk of an upload: 1 is the first, `CHUNKS` makes it whole. */
function chunk(number: number): Operation {
  const isLast = number === CHUNKS
  const name = isLast ? 'last' : number === 1 ? 'first' : 'middle'
  return {
    name: `upload in chunks: the ${name} chunk`,
    refusal: twake,
    steps: [
      ...RECEIVING,
      ...OBJECT,
      ...(['part.staged', 'form.received', 'part.put'] as const),
      ...(isLast ? (['parts.whole'] as const) : []),
      ...TRANSACTION,
    ],
    async begin(place) {
      const bytes = pattern(CHUNK * CHUNKS, 9)
      const member = () => client(place.server, place.company, place.company.member)
      const { id } = resourceOf(await member().init({ filename: newTag() }))
      const send = (at: number) => sendChunk(member(), id, bytes, at)
      for (let at = 1; at < number; at += 1) assertStatus(200, await send(at))
      return {
        send: () => send(number),
        async check(acknowledged) {
          const { body } = await member().state(id)
          const { resource } = body as {
            resource: { complete: boolean; chunks: { chunk_number: number; size: number }[] }
          }
          const expected = resource.chunks.some((one) => one.chunk_number === number)
          if (acknowledged) assert.ok(expected, 'an acknowledged chunk is there')
          for (const { size } of resource.chunks) assert.equal(size, CHUNK)
          assert.equal(resource.complete, expected && isLast)
        },
        async finish() {
          for (let at = 1; at <= CHUNKS; at += 1) assertStatus(200, await send(at))
          await assertContent({ content: () => member().download(id) }, bytes)
        },
      }
    },
  }
}

/** A chunk that comes again before the upload is whole: the newer copy counts. */
const chunkAgain: Operation = {
  name: 'upload in chunks: a chunk again',
  refusal: twake,
  steps: [
    ...RECEIVING,
    ...OBJECT,
    ...(['part.staged', 'form.received', 'part.put'] as const),
    ...TRANSACTION,
    ...(['copies.replaced', 'object.removed'] as const),
  ],
  async begin(place) {
    const bytes = pattern(CHUNK * CHUNKS, 10)
    const member = () => client(place.server, place.company, place.company.member)
    const { id } = resourceOf(await member().init({ filename: newTag() }))
    assertStatus(200, await sendChunk(member(), id, pattern(CHUNK * CHUNKS, 11), 1))
    return {
      send: () => sendChunk(member(), id, bytes, 1),
      check: async () => undefined,
      async finish() {
        for (let at = 2; at <= CHUNKS; at += 1) {
          assertStatus(200, await sendChunk(member(), id, bytes, at))
        }
        await assertContent({ content: () => member().download(id) }, bytes)
      },
    }
  },
}

const announce: Operation = {
  name: 'upload in chunks: announced',
  refusal: twake,
  steps: TRANSACTION,
  async begin(place) {
    const member = () => client(place.server, place.company, place.company.member)
    let id: string | undefined
    return {
      async send() {
        const answer = await member().init({ filename: newTag(), total_size: 3 })
        if (answer.status === 200) id = resourceOf(answer).id
        return answer
      },
      async check(acknowledged) {
        if (acknowledged) assertStatus(200, await member().state(String(id)))
      },
    }
  },
}

/** An application puts other bytes into a whole file. */
function overwrite(size: number, inChunks: boolean): Operation {
  const kind = size === SMALL ? 'small' : 'large'
  const removal = ['blob.unlinked', 'object.removed', 'blob.emptied'] as Failpoint[]
  const staged: Failpoint[] = inChunks
    ? ['part.staged', 'form.received', 'part.put', 'parts.whole']
    : ['form.received', 'blob.staged', 'blob.inserted']
  return {
    name: inChunks ? 'overwrite in chunks: the last chunk' : `overwrite: ${kind}`,
    refusal: twake,
    steps: [
      ...RECEIVING,
      ...(size === SMALL ? [] : OBJECT),
      ...staged,
      ...(['blob.released', 'content.replaced'] as const),
      ...TRANSACTION,
      ...(size === SMALL ? [] : removal),
    ],
    async begin(place) {
      const before = pattern(size, 12)
      const after = pattern(inChunks ? CHUNK * CHUNKS : size, 13)
      const app = () => client(place.server, place.company, place.company.app)
      const { id } = resourceOf(await app().upload(before, { filename: newTag() }))
      for (let at = 1; inChunks && at < CHUNKS; at += 1) {
        assertStatus(200, await sendChunk(app(), id, after, at))
      }
      return {
        send: () => (inChunks ? sendChunk(app(), id, after, CHUNKS) : app().send(id, after)),
        async check(acknowledged) {
          const answer = await app().download(id)
          assertStatus(200, answer)
          const isOld = Buffer.compare(answer.bytes, before) === 0
          if (!isOld || acknowledged) assertSameBytes(answer.bytes, after)
        },
      }
    },
  }
}

function sendChunk(
  sender: ReturnType<typeof client>,
  id: string,
  bytes: Uint8Array,
  number: number,
): Promise<Answer> {
  const chunk = bytes.subarray((number - 1) * CHUNK, number * CHUNK)
  return sender.send(id, chunk, chunkQuery(number, CHUNKS, bytes.byteLength))
}

export async function assertContent(
  { content }: Pick<Found, 'content'>,
  bytes: Uint8Array,
): Promise<void> {
  const answer = await content()
  assertStatus(200, answer)
  assertSameBytes(answer.bytes, bytes)
}

export function assertStatus(expected: number, { status, bytes }: Answer): void {
  assert.equal(status, expected, `${bytes.subarray(0, 300)}`)
}

/** A file of each kind that can be downloaded. */
export const DOWNLOADS = [boxFile, accountFile, companyFile].map((kind) => ({
  name: `download: ${kind.name}`,
  refusal: kind.refusal,
  async begin(place: Place) {
    const tag = newTag()
    const bytes = pattern(LARGE, 14)
    const answer = await send(place, kind, bytes, tag)
    const [file] = await kind.find(place, tag, [answer])
    assert.ok(file, 'the file is there')
    return { bytes, content: file.content }
  },
}))

/** Every kind of request that changes stored bytes. */
export const OPERATIONS: readonly Operation[] = [
  ...KINDS.flatMap((kind) => [
    upload(kind, SMALL),
    upload(kind, LARGE),
    remove(kind, SMALL),
    remove(kind, LARGE),
  ]),
  announce,
  chunk(1),
  chunk(2),
  chunk(CHUNKS),
  chunkAgain,
  overwrite(SMALL, false),
  overwrite(LARGE, false),
  overwrite(LARGE, true),
]
