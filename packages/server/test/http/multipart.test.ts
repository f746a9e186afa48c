import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { type FastifyInstance, fastify } from 'fastify'
import { acceptForms, type FileReceiver, type Form, readForm } from '../../src/http/multipart.ts'
import { RequestError } from '../../src/http/request-error.ts'
import { encodeForm, formType, head, RawConnection, type WirePart } from '../helpers/http.ts'

interface Seen {
  form?: Form<Buffer>
  error?: unknown
  dropped: Buffer[]
}

/** A server with one form, whose file is called `file`, and what it saw last. */
async function formServer(t: TestContext, { idleMs = 5000, receive = collect } = {}) {
  const app: FastifyInstance = fastify({ forceCloseConnections: true })
  t.after(() => app.close())
  acceptForms(app)
  let tell: (seen: Seen) => void = () => undefined
  app.post('/', async (request, reply) => {
    const dropped: Buffer[] = []
    const receiver: FileReceiver<Buffer> = {
      field: 'file',
      receive: ({ bytes }) => receive(bytes),
      drop: async (received) => {
        dropped.push(received)
      },
    }
    try {
      tell({ form: await readForm(request, receiver, idleMs), dropped })
    } catch (error) {
      tell({ error, dropped })
    }
    return reply.code(204).send()
  })
  const address = await app.listen({ port: 0 })

  /** Sends a form in pieces, each a segment of its own. */
  async function send(pieces: readonly Uint8Array[], length?: number, boundary?: string) {
    const seen = new Promise<Seen>((resolve) => {
      tell = resolve
    })
    const connection = new RawConnection({ address } as never)
    const size = pieces.reduce((sum, piece) => sum + piece.byteLength, 0)
    const headers = { ...formType(boundary), 'content-length': length ?? size }
    await connection.send(head('POST', '/', headers), ...pieces)
    return { connection, seen }
  }
  return send
}

async function collect(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of bytes) pieces.push(piece)
  return Buffer.concat(pieces)
}

function codeOf({ error }: Seen): string | undefined {
  return error instanceof RequestError ? error.code : undefined
}

test('the same file and fields come out, however a form is ordered, bounded and cut', async (t) => {
  const send = await formServer(t)
  const fieldName = fc.constantFrom('a', 'b', 'c')
  const part = fc.oneof(
    fc.record({ name: fieldName, content: fc.string({ unit: 'grapheme' }) }),
    fc.record({ name: fc.constant('other'), filename: fc.constant('x'), content: fc.uint8Array() }),
  )
  // What looks like a boundary is what is hard.
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .constantFrom('\r\n', '\r', '\n--', '\r\n--', '\r\n--edge'.slice(0, 6), '--')
      .map((text) => Buffer.from(text)),
  )
  const content = fc.array(piece, { maxLength: 30 }).map((pieces) => Buffer.concat(pieces))
  const boundary = fc.stringMatching(/^[A-Za-z0-9'_-]{8,60}$/)
  await fc.assert(
    fc.asyncProperty(
      fc.array(part, { maxLength: 5 }),
      content,
      fc.nat({ max: 5 }),
      boundary,
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 8 }),
      async (others, bytes, place, edge, cuts) => {
        const file: WirePart = { name: 'file', filename: 'blob', content: bytes }
        const parts: WirePart[] = others.toSpliced(Math.min(place, others.length), 0, file as never)
        const form = encodeForm(parts, edge)
        const { connection, seen } = await send(slices(form, cuts), undefined, edge)
        const { form: read, error, dropped } = await seen
        connection.socket.destroy()
        assert.equal(error, undefined)
        assert.deepEqual(dropped, [])
        assert.ok(read?.file?.equals(bytes))
        const expected = new Map<string, string>()
        for (const other of others) {
          if (!('filename' in other) && !expected.has(other.name)) {
            expected.set(other.name, other.content)
          }
        }
        assert.deepEqual(read?.fields, expected)
      },
    ),
    { numRuns: 60 },
  )
})

/** `bytes` cut into pieces of these lengths, over and over. */
function slices(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0, n = 0; at < bytes.byteLength; n += 1) {
    const length = lengths[n % lengths.length] ?? 1
    pieces.push(bytes.subarray(at, at + length))
    at += length
  }
  return pieces
}

const file: WirePart = { name: 'file', filename: 'blob', content: 'bytes' }
const text: WirePart = { name: 'text', content: 'text' }

test('a client that falls silent is given up, and its file dropped', async (t) => {
  const send = await formServer(t, { idleMs: 60 })
  const form = encodeForm([file, text])
  for (const end of [0, 30, form.byteLength - 20]) {
    const { connection, seen } = await send([form.subarray(0, end)], form.byteLength)
    const result = await seen
    assert.equal(codeOf(result), 'body_timeout')
    assert.deepEqual(result.dropped.map(String), end > 100 ? ['bytes'] : [])
    connection.socket.destroy()
  }
})

test('a client may take longer than that as a whole, if it goes on sending', async (t) => {
  const send = await formServer(t, { idleMs: 150 })
  const form = encodeForm([file])
  const { connection, seen } = await send([form.subarray(0, 10)], form.byteLength)
  for (const piece of slices(form.subarray(10), [20])) {
    await new Promise((resolve) => setTimeout(resolve, 40))
    await connection.send(piece)
  }
  assert.equal(String((await seen).form?.file), 'bytes')
  connection.socket.destroy()
})

test('a client that leaves half way is noticed, and its file dropped', async (t) => {
  const send = await formServer(t)
  const form = encodeForm([file, text])
  const { connection, seen } = await send([form.subarray(0, -20)], form.byteLength)
  connection.socket.destroy()
  const result = await seen
  assert.equal(codeOf(result), 'body_incomplete')
  assert.deepEqual(result.dropped.map(String), ['bytes'])
})

test('what the receiver throws is thrown, at once', async (t) => {
  const failure = new Error('no space')
  const send = await formServer(t, { receive: () => Promise.reject(failure) })
  const form = encodeForm([{ ...file, content: new Uint8Array(100_000) }, text])
  const { connection, seen } = await send([form.subarray(0, 50_000)], form.byteLength)
  const { error, dropped } = await seen
  assert.equal(error, failure)
  assert.deepEqual(dropped, [])
  connection.socket.destroy()
})

test('a receiver that stops reading sees no more than a little of a large file', async (t) => {
  const size = 32 * 1024 * 1024
  let arrived = 0
  const send = await formServer(t, {
    receive: async (bytes) => {
      for await (const piece of bytes) {
        arrived += piece.byteLength
        // Slower than any network: what is not read must wait in the socket.
        await new Promise((resolve) => setTimeout(resolve, 5))
        if (arrived > 500_000) throw new Error('enough')
      }
      return Buffer.of()
    },
  })
  const form = encodeForm([{ ...file, content: new Uint8Array(size) }])
  const sending = send([form])
  sending.catch(() => undefined)
  const { seen, connection } = await sending
  assert.equal((await seen).error instanceof Error, true)
  assert.ok(arrived < 1_000_000)
  connection.socket.destroy()
})
