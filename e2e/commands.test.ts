/**
 * Proves that commands and a busy server share one store: 500 `holdfast token create`, a few
 * processes at a time, beside four clients that upload all the while. No command and no upload
 * fails, nothing is lost, and the server's event loop never waits for a disk or for a command's
 * lock: the 99th percentile of a small request meanwhile stays below 100 ms.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { holdfastJson } from './processes.ts'
import { download, type Place, startPlace, upload } from './server-process.ts'

const COMMANDS = 500
const COMMANDS_AT_A_TIME = 2
const UPLOADERS = 4
const SIZES = [1, 10, 64, 65, 300, 1000].map((kib) => kib * 1024)
const PAUSE_MS = 100
const PING_EVERY_MS = 20
const MOST_MS = 100

interface Uploaded {
  readonly fileId: string
  readonly digest: string
}

test('500 commands beside uploading clients', async (t) => {
  const place = await startPlace(t, { HOLDFAST_LOG_LEVEL: 'warn' })
  const work = { done: false }
  const uploading = Array.from({ length: UPLOADERS }, () => uploadUntil(place, work))
  const pinging = pingUntil(place, work)

  const begun = performance.now()
  const made = await createTokens(place).finally(() => {
    work.done = true
  })
  const seconds = (performance.now() - begun) / 1000
  const uploaded = (await Promise.all(uploading)).flat()
  const times = (await pinging).sort((a, b) => a - b)

  const { tokens } = await holdfastJson<{ tokens: { id: string; name: string }[] }>(
    place.settings,
    ...['token', 'list', '--email', place.email],
  )
  assert.equal(tokens.length, COMMANDS)
  assert.deepEqual(new Set(tokens.map(({ id }) => id)), new Set(made))
  assert.equal(new Set(tokens.map(({ name }) => name)).size, COMMANDS)
  for (const file of uploaded) {
    const response = await download(place, file.fileId)
    assert.equal(response.status, 200)
    assert.equal(digestOf(new Uint8Array(await response.arrayBuffer())), file.digest)
  }
  const { stderr } = await place.server.stop()
  assert.equal(stderr, '', 'the server had nothing to complain of')

  const p99 = times[Math.ceil(times.length * 0.99) - 1] ?? Number.NaN
  t.diagnostic(
    `${COMMANDS} commands in ${seconds.toFixed(1)} s beside ${uploaded.length} uploads; ` +
      `GET /health/live ${times.length} times: p50 ${times[times.length >> 1]?.toFixed(1)} ms, ` +
      `p99 ${p99.toFixed(1)} ms, most ${times.at(-1)?.toFixed(1)} ms`,
  )
  assert.ok(times.length > 100)
  assert.ok(p99 < MOST_MS, `p99 ${p99} ms`)
})

async function createTokens(place: Place): Promise<string[]> {
  const ids: string[] = []
  let next = 0
  async function worker(): Promise<void> {
    while (next < COMMANDS) {
      next += 1
      const words = ['token', 'create', '--email', place.email, '--name', `Token ${next}`]
      ids.push((await holdfastJson<{ id: string }>(place.settings, ...words)).id)
    }
  }
  await Promise.all(Array.from({ length: COMMANDS_AT_A_TIME }, worker))
  return ids
}

async function uploadUntil(place: Place, work: { done: boolean }): Promise<Uploaded[]> {
  const uploaded: Uploaded[] = []
  for (let index = 0; !work.done; index += 1) {
    const bytes = randomBytes(SIZES[index % SIZES.length] as number)
    const { fileId } = await upload(place, bytes)
    uploaded.push({ fileId, digest: digestOf(bytes) })
    await pause(PAUSE_MS)
  }
  return uploaded
}

/** How long a request takes that only needs the event loop, again and again; milliseconds. */
async function pingUntil(place: Place, work: { done: boolean }): Promise<number[]> {
  const times: number[] = []
  while (!work.done) {
    const begun = performance.now()
    const response = await fetch(`${place.server.address}/health/live`)
    await response.arrayBuffer()
    times.push(performance.now() - begun)
    assert.equal(response.status, 200)
    await pause(PING_EVERY_MS)
  }
  return times
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
