/**
 * The one client of all contestants: a process of its own, raw sockets that stay open, requests
 * written from ready-made bytes, answers read into one buffer. Reads a job as JSON from standard
 * input and prints what it measured.
 */
import { randomFillSync } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'

/** What to do, against one server on loopback. */
export interface Job {
  readonly port: number
  readonly method: string
  /** Taken in turn; `%` stands for the number of the request. */
  readonly paths: readonly string[]
  readonly headers: Readonly<Record<string, string>>
  /** Bytes of content that each request sends; 0 for none. */
  readonly size: number
  /** The name of the form's part that holds the content, or undefined to send it as it is. */
  readonly part?: string
  readonly requests: number
  readonly connections: number
  /** The number of the first request. */
  readonly first: number
  /** Asks for so many bytes from anywhere in a file of `of` bytes. */
  readonly range?: { readonly length: number; readonly of: number }
}

/** What came of it. */
export interface Measured {
  readonly seconds: number
  /** Bytes of content, sent or received. */
  readonly bytes: number
  readonly p50: number
  readonly p99: number
  /** Answers that were not 2xx. */
  readonly refused: number
  /** CPU seconds of this process. */
  readonly cpu: number
  /** The last body that was small enough to keep. */
  readonly answer: string
}

const BOUNDARY = '----holdfastbench'
const PIECE = 4 * 1024 * 1024
const KEPT = 64 * 1024

const job: Job = JSON.parse(await text(process.stdin))
const content = Buffer.allocUnsafeSlow(Math.min(PIECE, job.size))
randomFillSync(content)
const before = Buffer.from(
  job.part === undefined
    ? ''
    : `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${job.part}"; filename="f.bin"\r\nContent-Type: application/octet-stream\r\n\r\n`,
)
const after = Buffer.from(job.part === undefined ? '' : `\r\n--${BOUNDARY}--\r\n`)

let next = 0
let received = 0
let refused = 0
let answer = ''
const times: number[] = []

const startCpu = process.cpuUsage()
const start = performance.now()
await Promise.all(Array.from({ length: job.connections }, runConnection))
const seconds = (performance.now() - start) / 1000
const { user, system } = process.cpuUsage(startCpu)
times.sort((a, b) => a - b)
const measured: Measured = {
  seconds,
  bytes: Math.max(received, job.size * job.requests),
  p50: times[Math.floor(times.length / 2)] ?? 0,
  p99: times[Math.floor(times.length * 0.99)] ?? 0,
  refused,
  cpu: (user + system) / 1e6,
  answer,
}
process.stdout.write(JSON.stringify(measured))

/** One connection that takes one request after another. */
async function runConnection(): Promise<void> {
  const connection = await open()
  for (;;) {
    const number = next
    next += 1
    if (number >= job.requests) break
    const begun = performance.now()
    const answered = connection.answered()
    await send(connection.socket, job.first + number)
    const { status, length } = await answered
    times.push(performance.now() - begun)
    if (status < 200 || status > 299) refused += 1
    received += length
  }
  connection.socket.destroy()
}

async function send(socket: Socket, number: number): Promise<void> {
  const length = before.length + job.size + after.length
  const fields = Object.entries({
    host: `127.0.0.1:${job.port}`,
    ...(length > 0 && { 'content-length': String(length) }),
    ...(length > 0 && { 'content-type': typeOf() }),
    ...(job.range && { range: rangeOf(job.range) }),
    ...job.headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  const path = job.paths[number % job.paths.length]?.replace('%', String(number))
  const head = Buffer.from(`${job.method} ${path} HTTP/1.1\r\n${fields.join('')}\r\n`)
  if (length <= KEPT) {
    socket.write(Buffer.concat([head, before, content, after]))
    return
  }
  socket.write(Buffer.concat([head, before]))
  for (let left = job.size; left > 0; left -= content.length) {
    const piece = left < content.length ? content.subarray(0, left) : content
    if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve))
  }
  if (after.length > 0) socket.write(after)
}

function rangeOf({ length, of }: NonNullable<Job['range']>): string {
  const start = Math.floor(Math.random() * (of - length))
  return `bytes=${start}-${start + length - 1}`
}

function typeOf(): string {
  return job.part === undefined
    ? 'application/octet-stream'
    : `multipart/form-data; boundary=${BOUNDARY}`
}

interface Answer {
  readonly status: number
  readonly length: number
}

async function open(): Promise<{ socket: Socket; answered(): Promise<Answer> }> {
  let settle: { resolve(answer: Answer): void; reject(error: Error): void } | undefined
  let head = ''
  let status = 0
  let length = 0
  let left = -1

  function take(bytes: Buffer): void {
    let body = bytes
    if (left === -1) {
      head += bytes.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end === -1) return
      status = Number(head.slice(9, 12))
      length = Number(/\r\ncontent-length: *(\d+)/i.exec(head.slice(0, end))?.[1] ?? 0)
      left = length
      body = Buffer.from(head.slice(end + 4), 'latin1')
      if (length <= KEPT) answer = body.toString()
    }
    left -= body.length
    if (left > 0) return
    head = ''
    left = -1
    settle?.resolve({ status, length })
  }

  const socket = connect({
    port: job.port,
    host: '127.0.0.1',
    onread: {
      buffer: Buffer.allocUnsafeSlow(1024 * 1024),
      callback(count, buffer) {
        take(Buffer.from(buffer.buffer, 0, count))
        return true
      },
    },
  })
  socket.setNoDelay(true)
  await new Promise((resolve) => socket.once('connect', resolve))
  for (const event of ['error', 'close']) {
    socket.on(event, (error) => settle?.reject(error || new Error('the server closed')))
  }
  return {
    socket,
    answered: () =>
      new Promise<Answer>((resolve, reject) => {
        settle = { resolve, reject }
      }),
  }
}
