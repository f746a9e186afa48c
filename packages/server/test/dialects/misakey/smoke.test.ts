import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { createBox, signIn, startTestServer, upload } from '../../helpers/server.ts'

test('a file that is uploaded to a box comes back byte for byte', async (t) => {
  const server = await startTestServer(t)
  const ann = await signIn(server, 'Ann Example')
  const box = await createBox(server, ann)
  for (const size of [1, 65_536, 65_537, 1_000_000]) {
    const bytes = randomBytes(size)
    const { fileId } = await upload(server, ann, box, bytes)
    const response = await fetch(`${server.address}/encrypted-files/${fileId}`, {
      headers: ann.headers,
    })
    assert.equal(response.status, 200)
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), bytes)
  }
})
