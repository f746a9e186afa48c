import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { atEnd } from '../packages/server/test/helpers/cleanup.ts'

/** What can go wrong with one request. */
export type Fault =
  /** Refused with this status before the store sees it. */
  | { readonly status: 500 | 503 }
  /** The connection breaks before the store sees the request. */
  | 'reset'
  /** The store never sees it, and no answer comes. */
  | 'hang'
  /** The store does it, and the connection breaks before the answer. */
  | 'reset after commit'
  /** The store does it, and no answer comes. */
  | 'hang after commit'
  /** Half of the answer's body, then the connection breaks. */
  | 'truncate'

export interface FaultProxy {
  readonly endpoint: string
  /**
   * Lets requests go wrong from now on.
   *
   * @param of as `PUT`, with words of the query that make it special, as `POST uploads`
   * @param times how many of them; all without it
   */
  fail(of: string, fault: Fault, times?: number): void
  /** Lets everything pass again. */
  mend(): void
  /** How many requests went wrong. */
  readonly failed: () => number
}

/** A proxy before a store, on a port of its own, that goes with the test. */
export async function startFaultProxy(t: TestContext, upstream: string): Promise<FaultProxy> {
  let rules: { of: string; fault: Fault; left: number }[] = []
  let failed = 0

  const server = createServer((incoming, outgoing) => {
    const rule = rules.find(({ of, left }) => left > 0 && of === kindOf(incoming))
    if (rule) {
      rule.left -= 1
      failed += 1
    }
    pass(upstream, incoming, outgoing, rule?.fault)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  atEnd(t, () => {
    server.closeAllConnections()
    server.close()
  })
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    fail(of, fault, times = Number.POSITIVE_INFINITY) {
      rules.push({ of, fault, left: times })
    },
    mend() {
      rules = []
    },
    failed: () => failed,
  }
}

const SPECIAL = ['uploads', 'partNumber', 'uploadId', 'list-type']

function kindOf({ method, url = '/', headers }: IncomingMessage): string {
  const query = new URL(url, 'http://proxy').searchParams
  const special = SPECIAL.find((name) => query.has(name))
  const copy = headers['x-amz-copy-source'] ? 'copy' : undefined
  return [method, special ?? copy].filter(Boolean).join(' ')
}

function pass(
  upstream: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  fault: Fault | undefined,
): void {
  if (fault === 'reset') {
    incoming.socket.destroy()
    return
  }
  if (fault === 'hang') {
    incoming.resume()
    return
  }
  if (typeof fault === 'object') {
    incoming.resume().once('end', () => refuse(outgoing, fault.status))
    return
  }
  // The signature covers the name under which the store was addressed.
  const { hostname, port } = new URL(upstream)
  const forwarded = request({
    hostname,
    port,
    method: incoming.method,
    path: incoming.url,
    headers: incoming.headers,
  })
  forwarded.once('error', () => incoming.socket.destroy())
  forwarded.once('response', (answer) => answerWith(answer, incoming, outgoing, fault))
  incoming.pipe(forwarded)
}

function answerWith(
  answer: IncomingMessage,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  fault: Fault | undefined,
): void {
  if (fault === 'reset after commit' || fault === 'hang after commit') {
    answer.resume().once('end', () => {
      if (fault === 'reset after commit') incoming.socket.destroy()
    })
    return
  }
  outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
  if (fault !== 'truncate') {
    answer.pipe(outgoing)
    return
  }
  const half = Number(answer.headers['content-length']) / 2
  let sent = 0
  answer.on('data', (bytes: Buffer) => {
    const rest = bytes.subarray(0, Math.max(0, half - sent))
    sent += bytes.byteLength
    outgoing.write(rest)
    if (sent >= half) outgoing.write('', () => incoming.socket.destroy())
  })
}

function refuse(outgoing: ServerResponse, status: 500 | 503): void {
  const code = status === 503 ? 'SlowDown' : 'InternalError'
  outgoing.writeHead(status, { 'content-type': 'application/xml' })
  outgoing.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>made up</Message></Error>`)
}
