import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Server } from '../../src/server.ts'
import type { SignedIn } from './server.ts'

/** An answer that was read to its end. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** Parsed when it is JSON, else its text; undefined when there is none. */
  readonly body: unknown
  readonly bytes: Buffer
}

export interface CallOptions {
  /** Sends her cookies and CSRF token. */
  as?: SignedIn
  headers?: Record<string, string>
  /** Sent as JSON. */
  json?: unknown
  body?: RequestInit['body']
}

export async function call(
  server: Pick<Server, 'address'>,
  method: string,
  path: string,
  { as, headers, json, body }: CallOptions = {},
): Promise<Answer> {
  const response = await fetch(`${server.address}${path}`, {
    method,
    headers: {
      ...as?.headers,
      ...(json !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    body: json === undefined ? (body ?? null) : JSON.stringify(json),
  })
  return read(response)
}

export async function read(response: Response): Promise<Answer> {
  const { status, headers } = response
  const bytes = Buffer.from(await response.arrayBuffer())
  return { status, headers, bytes, body: parse(bytes.toString(), headers.get('content-type')) }
}

function parse(text: string, type: string | null): unknown {
  if (text === '') return undefined
  return /json/.test(type ?? '') ? JSON.parse(text) : text
}

/** How many boxes somebody is told that she has. */
export async function countBoxes(server: Server, as: SignedIn): Promise<number> {
  const { headers } = await call(server, 'HEAD', '/boxes/joined', { as })
  return Number(headers.get('x-total-count'))
}

/** What most tests look at: status and body. */
export function outcome({ status, body }: Answer): { status: number; body: unknown } {
  return { status, body }
}

/** The headers of these names, null where there is none. */
export function pick(headers: Headers, ...names: string[]): Record<string, string | null> {
  return Object.fromEntries(names.map((name) => [name, headers.get(name)]))
}

/** A whole refusal of the Misakey dialect, to compare an outcome with. */
export function refusal(
  status: number,
  origin: string,
  desc: string,
  details: Record<string, string> = {},
): { status: number; body: unknown } {
  return { status, body: { code: CODES[status] ?? 'bad_request', origin, desc, details } }
}

const CODES: Record<number, string> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  405: 'method_not_allowed',
  409: 'conflict',
  410: 'gone',
  413: 'request_entity_too_large',
  500: 'internal',
}

/** Bytes on a socket, for what `fetch` does not do. */
export class RawConnection {
  readonly socket: Socket
  /** When the server has closed it. */
  readonly closed: Promise<void>
  readonly #received: Buffer[] = []

  constructor(server: Pick<Server, 'address'>) {
    const { hostname, port } = new URL(server.address)
    this.socket = connect(Number(port), hostname)
    this.socket.setNoDelay(true)
    this.socket.on('data', (bytes: Buffer) => this.#received.push(bytes))
    // A server that refuses may reset the connection under what is still being sent.
    this.socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => this.socket.once('close', () => resolve()))
  }

  /** Each piece as a segment of its own. */
  async send(...pieces: (string | Uint8Array)[]): Promise<void> {
    for (const piece of pieces) {
      await new Promise<void>((resolve) => this.socket.write(piece, () => resolve()))
    }
  }

  /** The one answer that has come, once the server has closed or `Content-Length` bytes are there. */
  async answer(): Promise<Answer> {
    let closed = false
    void this.closed.then(() => {
      closed = true
    })
    for (;;) {
      const answer = parseAnswer(Buffer.concat(this.#received), closed)
      if (answer) return answer
      if (closed) throw new Error(`closed after ${Buffer.concat(this.#received)}`)
      await sleep(2)
    }
  }
}

/** @param closed whether nothing more can come */
function parseAnswer(received: Buffer, closed: boolean): Answer | undefined {
  const end = received.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const [line = '', ...fields] = received.subarray(0, end).toString('latin1').split('\r\n')
  const headers = new Headers()
  for (const field of fields) {
    const colon = field.indexOf(':')
    headers.append(field.slice(0, colon), field.slice(colon + 1).trim())
  }
  const bytes = received.subarray(end + 4)
  if (!closed && bytes.byteLength < Number(headers.get('content-length'))) return undefined
  const body = parse(bytes.toString(), headers.get('content-type'))
  return { status: Number(line.split(' ')[1]), headers, body, bytes }
}

/** The head of a request, with the empty line behind it. */
export function head(
  method: string,
  path: string,
  headers: Record<string, string | number> = {},
): string {
  const fields = Object.entries({ host: 'localhost', ...headers })
  return [`${method} ${path} HTTP/1.1`, ...fields.map((field) => field.join(': ')), '', ''].join(
    '\r\n',
  )
}

/** A part of a form as it stands on the wire. */
export interface WirePart {
  name: string
  /** Undefined for none at all. */
  filename?: string
  type?: string
  content: string | Uint8Array
  /** Further header lines, each with its end. */
  extra?: string
}

/** A form's bytes, for shapes that `FormData` does not make. */
export function encodeForm(parts: readonly WirePart[], boundary = 'edge'): Buffer {
  const pieces = parts.flatMap(({ name, filename, type, content, extra = '' }) => [
    `--${boundary}\r\ncontent-disposition: form-data; name="${name}"`,
    filename === undefined ? '' : `; filename="${filename}"`,
    type === undefined ? '' : `\r\ncontent-type: ${type}`,
    `\r\n${extra}\r\n`,
    content,
    '\r\n',
  ])
  return Buffer.concat([...pieces, `--${boundary}--\r\n`].map((piece) => Buffer.from(piece)))
}

export function formType(boundary = 'edge'): Record<string, string> {
  return { 'content-type': `multipart/form-data; boundary=${boundary}` }
}

/** Asks until it is so, for what the server does after its answer. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('it never came about')
    await sleep(5)
  }
}
