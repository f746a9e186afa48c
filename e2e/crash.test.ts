/**
 * Proves that a server killed at any moment (SIGKILL) loses nothing that it acknowledged and shows
 * nothing half-made: again and again clients upload small and large files, send texts and delete
 * while it is killed. After each new start every acknowledged file reads back identical, every
 * acknowledged deletion is 404 and its bytes are gone, whatever is listed downloads whole, and after
 * the sweep there is nothing in `tmp/` and nothing without a row in `blobs/`. Also: a first start
 * that is killed at any moment does not keep the next one from starting.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { spawnServer, startServerProcess } from './processes.ts'
import {
  deleteMessage,
  download,
  type Event,
  listEvents,
  newTag,
  type Place,
  sendText,
  startAgain,
  startPlace,
  storedFiles,
  upload,
} from './server-process.ts'

const ROUNDS = 30
const CLIENTS = 8
const FIRST_STARTS = 12
const KIB = 1024
const SMALL_MOST = 64 * KIB
const LARGE_MOST = 6 * KIB * KIB
/** The kill comes at a random time of the round, in milliseconds. */
const KILL_LEAST = 20
const KILL_MOST = 700

type State = 'sent' | 'stored' | 'deleting' | 'deleted'

/** A message as its sender knows it. `sent` and `deleting` were not answered: both ways are right. */
interface Message {
  readonly tag: string
  readonly kind: 'file' | 'text'
  readonly digest: string
  readonly size: number
  state: State
  eventId: string
  fileId: string
}

test('a server that is killed while clients write keeps what it acknowledged', async (t) => {
  const place = await startPlace(t)
  const messages = new Map<string, Message>()
  const counts = { stored: 0, deleted: 0, openStored: 0, openLost: 0 }

  for (let round = 0; round < ROUNDS; round += 1) {
    const running = Array.from({ length: CLIENTS }, () => writeUntilCut(place, messages))
    await new Promise((resolve) => setTimeout(resolve, randomInt(KILL_LEAST, KILL_MOST)))
    await place.server.kill()
    await Promise.all(running)

    await startAgain(t, place)
    await place.server.logged('swept')
    await checkAll(place, messages, counts)
  }
  t.diagnostic(`${ROUNDS} kills: ${JSON.stringify(counts)}`)
  assert.ok(counts.stored > ROUNDS && counts.deleted > ROUNDS, 'there was something to lose')
})

test('a first start that is killed does not keep the next one from starting', async (t) => {
  for (let round = 0; round < FIRST_STARTS; round += 1) {
    const data = join(await testFolder(t), 'data')
    const settings = { HOLDFAST_DATA: data, HOLDFAST_PORT: '0' }
    const child = spawnServer(settings)
    const closed = new Promise((resolve) => child.once('close', resolve))
    await madeSomething(data)
    await new Promise((resolve) => setTimeout(resolve, randomInt(60)))
    child.kill('SIGKILL')
    await closed
    const server = await startServerProcess(t, settings)
    await server.stop()
  }
})

/** One client: sends and deletes until the connection is cut. */
async function writeUntilCut(place: Place, messages: Map<string, Message>): Promise<void> {
  const mine: Message[] = []
  for (;;) {
    try {
      const stored = mine.filter(({ state }) => state === 'stored')
      if (stored.length > 1 && randomInt(3) > 0) {
        await remove(place, stored[randomInt(stored.length)] as Message)
      } else {
        await send(place, messages, mine)
      }
    } catch (error) {
      if (isCut(error)) return
      throw error
    }
  }
}

async function send(place: Place, messages: Map<string, Message>, mine: Message[]): Promise<void> {
  const kind = randomInt(4) === 0 ? 'text' : 'file'
  const most = randomInt(2) === 0 ? SMALL_MOST : LARGE_MOST
  const bytes = kind === 'file' ? randomBytes(randomInt(1, most + 1)) : Buffer.alloc(0)
  const message: Message = {
    tag: newTag(),
    kind,
    digest: digestOf(bytes),
    size: bytes.length,
    state: 'sent',
    eventId: '',
    fileId: '',
  }
  messages.set(message.tag, message)
  mine.push(message)
  if (kind === 'text') message.eventId = (await sendText(place, message.tag)).id
  else Object.assign(message, await upload(place, bytes, message.tag))
  message.state = 'stored'
}

async function remove(place: Place, message: Message): Promise<void> {
  message.state = 'deleting'
  await deleteMessage(place, message.eventId)
  message.state = 'deleted'
}

/** Whether an error is the cut connection, and not an answer that says no. */
function isCut(error: unknown): boolean {
  return error instanceof TypeError && /fetch failed|terminated/.test(error.message)
}

/** Holds what the server shows against what the clients know, and settles what was open. */
async function checkAll(
  place: Place,
  messages: Map<string, Message>,
  counts: Record<'stored' | 'deleted' | 'openStored' | 'openLost', number>,
): Promise<void> {
  const events = (await listEvents(place)).filter(({ type }) => type.startsWith('msg.'))
  const byTag = new Map(events.map((event) => [event.content?.encrypted, event]))
  const byId = new Map(events.map((event) => [event.id, event]))
  counts.stored = 0
  counts.deleted = 0

  for (const message of messages.values()) {
    const shown = byTag.get(message.tag)
    if (message.state === 'sent') {
      if (shown) counts.openStored += 1
      else counts.openLost += 1
      settle(message, shown)
    }
    if (message.state === 'deleting') message.state = shown ? 'stored' : 'deleted'

    if (message.state === 'stored') {
      counts.stored += 1
      assert.equal(shown?.type, `msg.${message.kind}`, 'an acknowledged message is listed')
      if (message.kind === 'file') await assertWhole(place, message, shown)
    } else {
      counts.deleted += 1
      assert.equal(shown, undefined)
      const gone = byId.get(message.eventId)
      if (gone) assert.deepEqual(Object.keys(gone.content ?? {}), ['deleted'])
      if (message.fileId !== '') await assertGone(place, message)
    }
  }
  await assertNothingElse(place, [...messages.values()], events)
}

/** What was sent and not answered is there whole, or not at all. */
function settle(message: Message, shown: Event | undefined): void {
  message.state = shown ? 'stored' : 'deleted'
  message.eventId = shown?.id ?? ''
  message.fileId = shown?.content?.encrypted_file_id ?? ''
}

async function assertWhole(place: Place, message: Message, shown: Event): Promise<void> {
  assert.equal(shown.content?.encrypted_file_id, message.fileId)
  const response = await download(place, message.fileId)
  assert.equal(response.status, 200)
  const bytes = new Uint8Array(await response.arrayBuffer())
  assert.equal(bytes.length, message.size)
  assert.equal(digestOf(bytes), message.digest, 'the very bytes')
}

async function assertGone(place: Place, { fileId }: Message): Promise<void> {
  const response = await download(place, fileId)
  await response.arrayBuffer()
  assert.equal(response.status, 404)
}

/** Nothing is listed that nobody sent, and nothing is stored that is not listed. */
async function assertNothingElse(
  place: Place,
  messages: readonly Message[],
  events: readonly Event[],
): Promise<void> {
  const known = new Set(messages.map(({ eventId }) => eventId))
  for (const { id } of events) assert.ok(known.has(id), 'nobody sent this')

  assert.deepEqual(await storedFiles(place, 'tmp'), [])
  const stored = messages.filter(({ state, kind }) => state === 'stored' && kind === 'file')
  const blobs = await storedFiles(place, 'blobs').catch(() => [])
  const expected = stored.filter(({ size }) => size > SMALL_MOST)
  assert.deepEqual(new Set(blobs), new Set(expected.map(({ fileId }) => `${fileId}.1`)))

  // The trash holds what never got a row; never what somebody deleted.
  const deleted = new Set(messages.filter(({ state }) => state === 'deleted').map(fileIdOf))
  for (const name of await storedFiles(place, 'trash')) {
    assert.ok(!deleted.has(name.slice(0, name.indexOf('.'))), 'deleted means deleted')
  }
}

function fileIdOf({ fileId }: Message): string {
  return fileId
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Settles when a first start has begun to make its folder. */
async function madeSomething(data: string): Promise<void> {
  const deadline = Date.now() + 10_000
  for (;;) {
    const entries = await readdir(data).catch(() => [])
    if (entries.length > 0) return
    assert.ok(Date.now() < deadline, 'the folder is made')
    await new Promise((resolve) => setImmediate(resolve))
  }
}
