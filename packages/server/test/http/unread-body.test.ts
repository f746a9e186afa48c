import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { fastify } from 'fastify'
import { hasBody, readOnAfterRefusal } from '../../src/http/unread-body.ts'
import { head, outcome, RawConnection } from '../helpers/http.ts'

const MIB = 1024 * 1024

/** Refuses every request before its body is read. */
async function refusingServer(t: TestContext) {
  const app = fastify({ bodyLimit: 100 * MIB, forceCloseConnections: true })
  t.after(() => app.close())
  readOnAfterRefusal(app)
  app.addHook('onRequest', async (request, reply) => {
    if (request.method === 'POST') return reply.code(403).send({ refused: true })
  })
  app.post('/', async () => 'never')
  app.get('/', async () => ({ served: true }))
  const address = await app.listen({ port: 0 })
  return () => new RawConnection({ address } as never)
}

const REFUSED = { status: 403, body: { refused: true } }

test('a short body is read to its end, and the connection goes on', async (t) => {
  const connection = (await refusingServer(t))()
  await connection.send(head('POST', '/', { 'content-length': 100_000 }), Buffer.alloc(100_000))
  const answer = await connection.answer()
  assert.deepEqual(outcome(answer), REFUSED)
  assert.notEqual(answer.headers.get('connection'), 'close')
  connection.socket.destroy()
})

test('a short body without length is read to its end too', async (t) => {
  const connection = (await refusingServer(t))()
  const chunked = { 'transfer-encoding': 'chunked' }
  await connection.send(head('POST', '/', chunked), '5\r\nhello\r\n', '0\r\n\r\n')
  assert.deepEqual(outcome(await connection.answer()), REFUSED)
  connection.socket.destroy()
})

test('a longer one is read for a MiB, then answered while it still comes, and closed', async (t) => {
  const connection = (await refusingServer(t))()
  let answered = false
  const answer = connection.answer().finally(() => {
    answered = true
  })
  await connection.send(head('POST', '/', { 'content-length': 50 * MIB }))
  let sent = 0
  while (!answered && sent < 50 * MIB) {
    await connection.send(Buffer.alloc(64 * 1024))
    sent += 64 * 1024
  }
  assert.deepEqual(outcome(await answer), REFUSED)
  assert.equal((await answer).headers.get('connection'), 'close')
  assert.ok(sent >= MIB, `${sent} bytes were sent`)
  assert.ok(sent < 50 * MIB, `${sent} bytes were sent`)
  connection.socket.end()
  await connection.closed
})

test('who stops sending after that is not kept waiting for the answer', async (t) => {
  const connection = (await refusingServer(t))()
  await connection.send(head('POST', '/', { 'content-length': 50 * MIB }), Buffer.alloc(2 * MIB))
  const answer = await connection.answer()
  assert.deepEqual(outcome(answer), REFUSED)
  assert.equal(answer.headers.get('connection'), 'close')
  connection.socket.destroy()
})

test('a request without a body is answered as ever', async (t) => {
  const connection = (await refusingServer(t))()
  await connection.send(head('GET', '/'))
  assert.deepEqual(outcome(await connection.answer()), { status: 200, body: { served: true } })
  connection.socket.destroy()
})

test('a body is what a length or an encoding announces', () => {
  const bodied = (headers: Record<string, string>) => hasBody({ headers } as never)
  assert.equal(bodied({ 'content-length': '1' }), true)
  assert.equal(bodied({ 'transfer-encoding': 'chunked' }), true)
  assert.equal(bodied({}), false)
  assert.equal(bodied({ 'content-length': '0' }), false)
  assert.equal(bodied({ 'content-type': 'application/json' }), false)
})
