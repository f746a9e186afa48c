/**
 * Proves that memory does not grow with chunks: the greatest resident size (VmHWM) of a server that
 * took in five chunks of 50 MB at once is at most 250 MiB, and that of a server that did the same with
 * chunks of 100 MB is within 20 % of it.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { type TestContext, test } from 'node:test'
import { address, announce, startCompanyPlace, stateOf } from './company-place.ts'

const MB = 1_000_000
const AT_ONCE = 5
const MOST_MIB = 250
const TOLERATED = 1.2
const PIECE = Buffer.alloc(250_000, 7)

test('five chunks of 50 MB at once, or of 100 MB: the memory is the same', async (t) => {
  const usual = await peakAfter(t, 50 * MB)
  const large = await peakAfter(t, 100 * MB)
  t.diagnostic(`VmHWM: ${usual.toFixed(1)} MiB for 50 MB, ${large.toFixed(1)} MiB for 100 MB`)
  assert.ok(usual <= MOST_MIB, `${usual} MiB`)
  assert.ok(large <= usual * TOLERATED, `${large} MiB against ${usual} MiB`)
})

/** MiB at most resident in a fresh server that took in chunks of this size, twice as many as at once. */
async function peakAfter(t: TestContext, chunkSize: number): Promise<number> {
  const place = await startCompanyPlace(t, {
    HOLDFAST_LOG_LEVEL: 'warn',
    NODE_COMPILE_CACHE: '',
  })
  const chunks = AT_ONCE * 2
  const total = chunkSize * chunks
  const fileId = await announce(place, total)
  for (const first of [1, 1 + AT_ONCE]) {
    const numbers = Array.from({ length: AT_ONCE }, (_, index) => first + index)
    await Promise.all(
      numbers.map((number) => {
        const query = `?chunk_number=${number}&total_chunks=${chunks}&total_size=${total}`
        return sendGenerated(address(place, fileId, query), place.headers, chunkSize)
      }),
    )
  }
  assert.equal((await stateOf(place, fileId)).complete, true)
  const status = await readFile(`/proc/${place.server.pid}/status`, 'utf8')
  await place.server.stop()
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
}

async function sendGenerated(
  url: string,
  headers: Record<string, string>,
  size: number,
): Promise<void> {
  const head =
    '--edge\r\nContent-Disposition: form-data; name="file"; filename="blob"\r\n' +
    'Content-Type: application/octet-stream\r\n\r\n'
  const tail = '\r\n--edge--\r\n'
  const upload = request(url, {
    method: 'POST',
    headers: {
      ...headers,
      'content-type': 'multipart/form-data; boundary=edge',
      'content-length': head.length + size + tail.length,
    },
  })
  const answered = once(upload, 'response') as Promise<[IncomingMessage]>
  upload.write(head)
  for (let left = size; left > 0; left -= PIECE.length) {
    if (!upload.write(PIECE.subarray(0, left))) await once(upload, 'drain')
  }
  upload.end(tail)
  const [response] = await answered
  response.resume()
  assert.equal(response.statusCode, 200)
}
