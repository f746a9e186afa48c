import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LARGE, type StoredFile, storeFiles } from './helpers/checks.ts'
import { call, eventually } from './helpers/http.ts'
import { startTestServer } from './helpers/server.ts'
import { flipByte } from './helpers/stored.ts'

test('what the scrub in the background finds is logged as an error, with nothing of the file, and counted', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const server = await startTestServer(t, { HOLDFAST_METRICS_TOKEN: 'scrape' })
  const { files } = await storeFiles(server, LARGE, LARGE, 10)
  const [{ path, object, blobId }] = files as [StoredFile]
  const headers = { authorization: 'Bearer scrape' }
  const metrics = async () => String((await call(server, 'GET', '/metrics', { headers })).bytes)
  const logged = (message: string) => server.logged.filter(({ msg }) => msg === message)

  await flipByte(path, LARGE)
  t.mock.timers.tick(10 * 60_000)
  await eventually(() => logged('scrubbed').length > 0)

  const found = logged('scrub: stored bytes are not what was written')
  assert.deepEqual(
    found.map(({ time: _, pid: __, hostname: ___, ...line }) => line),
    [
      {
        level: 50,
        kind: 'damaged',
        table: 'blob_part',
        id: `${blobId}.1`,
        object,
        text: `${object}: chunk 1 is not what was sealed`,
        msg: 'scrub: stored bytes are not what was written',
      },
    ],
  )
  assert.match(await metrics(), /^holdfast_integrity_failures_total\{dialect="scrub"\} 1$/m)
})
