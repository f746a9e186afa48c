import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { fastify } from 'fastify'
import { statusOf } from '../../src/http/failure.ts'
import { acceptEmptyJson } from '../../src/http/json-body.ts'
import { readOnAfterRefusal } from '../../src/http/unread-body.ts'
import { head, outcome, RawConnection } from '../helpers/http.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

async function jsonServer(t: TestContext, idleMs?: number) {
  const app = fastify({ forceCloseConnections: true })
  t.after(() => app.close())
  acceptEmptyJson(app, idleMs)
  readOnAfterRefusal(app)
  app.setErrorHandler((error, _request, reply) => reply.code(statusOf(error)).send({}))
  app.all('/', async (request) => ({ body: request.body ?? null }))
  const { port } = new URL(await app.listen({ port: 0 }))
  return {
    port,
    connect: () => new RawConnection({ address: `http://127.0.0.1:${port}` } as never),
  }
}

test('an empty JSON body is none, on any method', async (t) => {
  const { port } = await jsonServer(t)
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
    const answer = await fetch(`http://127.0.0.1:${port}`, { method, headers: JSON_TYPE })
    assert.deepEqual([answer.status, await answer.json()], [200, { body: null }], method)
  }
})

test('JSON is parsed, and what is no JSON or would change prototypes is refused', async (t) => {
  const { port } = await jsonServer(t)
  const post = (body: string) =>
    fetch(`http://127.0.0.1:${port}`, { method: 'POST', headers: JSON_TYPE, body })
  assert.deepEqual(await (await post('{"a":[1,null]}')).json(), { body: { a: [1, null] } })
  for (const body of ['{', ' ', '{"__proto__":1}', '{"constructor":{"prototype":1}}']) {
    assert.equal((await post(body)).status, 400, body)
  }
})

test('a client that falls silent in the middle is refused', async (t) => {
  const { connect } = await jsonServer(t, 50)
  const connection = connect()
  await connection.send(head('POST', '/', { ...JSON_TYPE, 'content-length': 100 }), '{"a":')
  // What is refused is read on for a while, so that the client comes to reading the answer.
  setTimeout(() => connection.socket.write('x'.repeat(95)), 200)
  assert.deepEqual(outcome(await connection.answer()), { status: 408, body: {} })
  connection.socket.destroy()
})

test('a slow client that goes on sending is served', async (t) => {
  const { connect } = await jsonServer(t, 100)
  const connection = connect()
  await connection.send(head('POST', '/', { ...JSON_TYPE, 'content-length': 7 }))
  for (const piece of ['{"a"', ':', '1', '}']) {
    await new Promise((resolve) => setTimeout(resolve, 40))
    await connection.send(piece)
  }
  assert.deepEqual(outcome(await connection.answer()), { status: 200, body: { body: { a: 1 } } })
  connection.socket.destroy()
})
