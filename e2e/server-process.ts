import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { PUBLIC_KEY, uploadForm } from '../packages/server/test/helpers/server.ts'
import {
  createSession,
  holdfastJson,
  type ServerProcess,
  type Settings,
  startServerProcess,
} from './processes.ts'

export { PUBLIC_KEY } from '../packages/server/test/helpers/server.ts'
export type { Settings } from './processes.ts'

/** A real server on a data folder of its own, and somebody who is signed in and has a box. */
export interface Place {
  readonly settings: Settings
  /** The data folder. */
  readonly data: string
  readonly email: string
  /** Cookies and CSRF header of the one person. */
  readonly headers: Record<string, string>
  readonly boxId: string
  /** The process that runs now. */
  server: ServerProcess
}

/** Starts a server on a fresh folder and a free port, and makes a person with a box. */
export async function startPlace(t: TestContext, given: Settings = {}): Promise<Place> {
  const data = join(await testFolder(t), 'data')
  const settings: Settings = { HOLDFAST_DATA: data, ...given }
  const server = await startServerProcess(t, settings)
  const email = 'ann@example.com'
  await holdfastJson(settings, 'user', 'create', '--email', email, '--name', 'Ann Example')
  const { headers } = await createSession(settings, email)
  const box = await answer<{ id: string }>(201, `${server.address}/boxes`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ title: 'A box', public_key: PUBLIC_KEY }),
  })
  return { settings, data, email, headers, boxId: box.id, server }
}

/** Starts another process on the same folder, after the first has ended. */
export async function startAgain(t: TestContext, place: Place): Promise<void> {
  place.server = await startServerProcess(t, place.settings)
}

/** An event of a box, as far as these tests look at it. */
export interface Event {
  readonly id: string
  readonly type: string
  readonly content: {
    readonly encrypted?: string
    readonly encrypted_file_id?: string
    readonly deleted?: unknown
  } | null
}

/** Uploads a file into the box; `tag` comes back in the event. */
export async function upload(
  place: Place,
  bytes: Uint8Array,
  tag = newTag(),
): Promise<{ eventId: string; fileId: string }> {
  const url = `${place.server.address}/boxes/${place.boxId}/encrypted-files`
  const event = await answer<Event>(201, url, {
    method: 'POST',
    headers: place.headers,
    body: uploadForm(bytes, tag),
  })
  return { eventId: event.id, fileId: String(event.content?.encrypted_file_id) }
}

/** Something to know one message from another by. */
export function newTag(): string {
  return randomUUID().replaceAll('-', '')
}

export function sendText(place: Place, encrypted: string): Promise<Event> {
  return post(place, { type: 'msg.text', content: { encrypted, public_key: PUBLIC_KEY } })
}

export async function deleteMessage(place: Place, eventId: string): Promise<void> {
  await post(place, { type: 'msg.delete', referrer_id: eventId })
}

async function post(place: Place, body: object): Promise<Event> {
  return answer<Event>(201, `${place.server.address}/boxes/${place.boxId}/events`, {
    method: 'POST',
    headers: { ...place.headers, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
}

/** Every visible event of the box. */
export async function listEvents(place: Place): Promise<Event[]> {
  const pageSize = 500
  const events: Event[] = []
  for (;;) {
    const query = `offset=${events.length}&limit=${pageSize}`
    const page = await answer<Event[]>(
      200,
      `${place.server.address}/boxes/${place.boxId}/events?${query}`,
      { headers: place.headers },
    )
    events.push(...page)
    if (page.length < pageSize) return events
  }
}

/** Asks for a file, whatever the answer. */
export function download(place: Place, fileId: string): Promise<Response> {
  return fetch(`${place.server.address}/encrypted-files/${fileId}`, { headers: place.headers })
}

/** Names of the files in a folder of the data folder and below. */
export async function storedFiles(place: Place, folder: string): Promise<string[]> {
  const path = join(place.data, folder)
  // A folder is made when something first goes there.
  if (!existsSync(path)) return []
  const entries = await readdir(path, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
}

/** Path of a large file's bytes. */
export function blobFile(place: Place, fileId: string): string {
  return join(place.data, 'blobs', fileId.slice(0, 2), `${fileId}.1`)
}

async function answer<T>(status: number, url: string, request: RequestInit): Promise<T> {
  const response = await fetch(url, request)
  const text = await response.text()
  if (response.status !== status) throw new Error(`${url}: ${response.status} ${text}`)
  return JSON.parse(text)
}
