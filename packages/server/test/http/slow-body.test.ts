import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fastify } from 'fastify'
import { cutSlowBodies } from '../../src/http/slow-body.ts'
import { atEnd } from '../helpers/cleanup.ts'
import { head, RawConnection } from '../helpers/http.ts'

const EVERY_MS = 200
const BODY = 400

async function connected(t: TestContext): Promise<RawConnection> {
  const app = fastify()
  atEnd(t, () => app.close())
  cutSlowBodies(app, { leastBytes: 50, everyMs: EVERY_MS })
  app.post('/', async (request) => String((request.body as string).length))
  const connection = new RawConnection({ address: await app.listen({ port: 0 }) })
  atEnd(t, () => connection.socket.destroy())
  await connection.send(
    head('POST', '/', {
      'content-type': 'text/plain',
      'content-length': BODY,
      connection: 'close',
    }),
  )
  return connection
}

test('a client that sends a body byte by byte to hold its connection is cut off', async (t) => {
  const connection = await connected(t)
  let closed = false
  void connection.closed.then(() => {
    closed = true
  })
  for (let sent = 0; sent < BODY && !closed; sent += 1) {
    await connection.send('x')
    await sleep(EVERY_MS / 10)
  }
  await connection.closed
  await assert.rejects(connection.answer())
})

test('one that is slow but goes on is served', async (t) => {
  const connection = await connected(t)
  for (let sent = 0; sent < BODY; sent += 40) {
    await connection.send('x'.repeat(40))
    await sleep(EVERY_MS / 4)
  }
  assert.equal((await connection.answer()).body, `${BODY}`)
})
