import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import { type Config, loadConfig } from '../../src/config.ts'
import type { Acr } from '../../src/core/schema.ts'
import { csrfTokenOf } from '../../src/core/secrets.ts'
import { type Server, startServer } from '../../src/server.ts'
import { atEnd, testFolder } from './cleanup.ts'
import { copyNewStore } from './new-store.ts'
import { databaseSettings } from './postgres.ts'
import { testBlobSettings } from './test-blobs.ts'

/** A clock that stands still until it is moved. */
export class TestClock {
  now = Date.UTC(2026, 0, 15, 12, 0, 0)

  readonly read = (): number => this.now

  advance(milliseconds: number): void {
    this.now += milliseconds
  }
}

export interface TestServer extends Server {
  readonly config: Config
  readonly clock: TestClock
  /** What the server logged, one parsed object a line. */
  readonly logged: Record<string, unknown>[]
  /** Stops and starts again on the same folder. */
  restart(): Promise<TestServer>
}

/** A whole server on a folder of its own and a free port, listening on loopback. */
export async function startTestServer(
  t: TestContext,
  environment: NodeJS.ProcessEnv = {},
): Promise<TestServer> {
  const folder = await testFolder(t)
  const data = join(folder, 'data')
  const settings = {
    HOLDFAST_PORT: '0',
    // Tests that want previews say so: each of their servers has a process for them.
    HOLDFAST_PREVIEW_MAX_MB: '0',
    ...testBlobSettings(),
    ...(await databaseSettings(t)),
    ...environment,
  }
  await copyNewStore(data, settings)
  const config = loadConfig({ HOLDFAST_DATA: data, ...settings })
  return start(t, config, new TestClock())
}

async function start(t: TestContext, config: Config, clock: TestClock): Promise<TestServer> {
  const logged: Record<string, unknown>[] = []
  const logger = pino({ level: 'trace' }, { write: (line) => logged.push(JSON.parse(line)) })
  const fail = (error: Error) => {
    throw error
  }
  const server = await startServer(config, logger, fail, clock.read)
  let closed: Promise<void> | undefined
  const close = () => {
    closed ??= server.close()
    return closed
  }
  atEnd(t, close)
  return {
    ...server,
    close,
    config,
    clock,
    logged,
    async restart() {
      await close()
      return start(t, config, clock)
    },
  }
}

/** Somebody who is signed in, and what her client sends with each request. */
export interface SignedIn {
  readonly id: string
  readonly email: string
  readonly accessToken: string
  readonly csrfToken: string
  /** Cookies and the CSRF header. */
  readonly headers: Record<string, string>
}

/** Makes a person and signs her in. */
export async function signIn(server: Server, name: string, acr: Acr = 2): Promise<SignedIn> {
  const email = `${name.toLowerCase().replaceAll(' ', '.')}@example.com`
  const { id } = await server.core.identities.createPerson({ email, name })
  return signInAgain(server, { id, email }, acr)
}

/** One more session of somebody who is there already. */
export async function signInAgain(
  server: Server,
  { id, email }: { id: string; email: string },
  acr: Acr = 2,
): Promise<SignedIn> {
  const { token } = await server.core.sessions.create(id, acr)
  const csrfToken = csrfTokenOf(token)
  return {
    id,
    email,
    accessToken: token,
    csrfToken,
    headers: { cookie: `accesstoken=${token}; tokentype=bearer`, 'x-csrf-token': csrfToken },
  }
}

/** The public key of test boxes: what a client would have made. */
export const PUBLIC_KEY = 'ShYnL8jvNQlPzNG5vUZE1ZyCIw6PPkMkIQtYQsHcXTo'

export async function createBox(
  server: Server,
  creator: SignedIn,
  title = 'A box',
): Promise<string> {
  const box = await server.core.boxes.create(creator.id, { title, publicKey: PUBLIC_KEY })
  return box.id
}

/** The form of a box upload, its parts in the order of real clients. */
export function uploadForm(bytes: Uint8Array, encrypted = 'Ym9uam91cg'): FormData {
  const form = new FormData()
  form.append('encrypted_file', new Blob([bytes as Uint8Array<ArrayBuffer>]), 'blob')
  form.append('msg_encrypted_content', encrypted)
  form.append('msg_public_key', PUBLIC_KEY)
  return form
}

export interface UploadedFile {
  readonly eventId: string
  readonly fileId: string
}

/** Uploads a file into a box as a client does. */
export async function upload(
  server: Server,
  sender: SignedIn,
  boxId: string,
  bytes: Uint8Array = randomBytes(1000),
): Promise<UploadedFile> {
  const response = await fetch(`${server.address}/boxes/${boxId}/encrypted-files`, {
    method: 'POST',
    headers: sender.headers,
    body: uploadForm(bytes),
  })
  if (response.status !== 201)
    throw new Error(`upload: ${response.status} ${await response.text()}`)
  const event = (await response.json()) as { id: string; content: { encrypted_file_id: string } }
  return { eventId: event.id, fileId: event.content.encrypted_file_id }
}
