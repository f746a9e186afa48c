/**
 * Proves that a server killed at any moment of a chunked upload (SIGKILL), between chunks, during one
 * or while the last one makes the file whole, leaves an upload that the client's retry completes.
 */
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { assertSameBytes, pattern } from '../packages/server/test/helpers/bytes.ts'
import {
  announce,
  type CompanyPlace,
  downloaded,
  sendChunk,
  startCompanyPlace,
  stateOf,
} from './company-place.ts'
import { startServerProcess } from './processes.ts'

const CHUNK = 1024 * 1024
const CHUNKS = 6
const KILLS_WHILE_COMPLETING = 15

test('killed after each chunk, the upload goes on where it was', async (t) => {
  const place = await startCompanyPlace(t)
  const content = pattern(CHUNK * CHUNKS - 12_345)
  const fileId = await announce(place, content.length)
  for (let number = 1; number <= CHUNKS; number += 1) {
    assert.equal(await sendChunk(place, fileId, content, number, CHUNK), 200)
    await restart(t, place)
    const { chunks } = await stateOf(place, fileId)
    assert.deepEqual(
      chunks.map((chunk) => chunk.chunk_number),
      Array.from({ length: number }, (_, index) => index + 1),
    )
  }
  assertSameBytes(await downloaded(place, fileId), content)
  await assertNothingLeft(place, CHUNKS)
})

test('killed during chunks and during completion, the client sends again and has its file', async (t) => {
  const place = await startCompanyPlace(t)
  const outcomes = { answered: 0, complete: 0, open: 0 }
  for (let round = 0; round < KILLS_WHILE_COMPLETING; round += 1) {
    const content = pattern(CHUNK * CHUNKS, round + 1)
    const fileId = await announce(place, content.length)
    const numbers = Array.from({ length: CHUNKS }, (_, index) => index + 1)
    const early = round % 3 === 0 ? [] : numbers.slice(0, -1)
    for (const number of early) await sendChunk(place, fileId, content, number, CHUNK)

    const rest = numbers.slice(early.length).map((number) =>
      sendChunk(place, fileId, content, number, CHUNK).then(
        () => true,
        () => false,
      ),
    )
    await new Promise((resolve) => setTimeout(resolve, randomInt(25)))
    await restart(t, place)
    const answered = (await Promise.all(rest)).every((one) => one)
    const { complete } = await stateOf(place, fileId)
    assert.ok(complete || !answered, 'what was acknowledged is there')
    outcomes[answered ? 'answered' : complete ? 'complete' : 'open'] += 1

    for (const number of numbers) {
      assert.equal(await sendChunk(place, fileId, content, number, CHUNK), 200)
    }
    assertSameBytes(await downloaded(place, fileId), content)
  }
  t.diagnostic(JSON.stringify(outcomes))
  await restart(t, place)
  await assertNothingLeft(place, CHUNKS * KILLS_WHILE_COMPLETING)
})

async function restart(
  t: Parameters<typeof startServerProcess>[0],
  place: CompanyPlace,
): Promise<void> {
  await place.server.kill()
  place.server = await startServerProcess(t, place.settings)
}

/** After the sweep there are the chunks and nothing else. */
async function assertNothingLeft(place: CompanyPlace, chunks: number): Promise<void> {
  await place.server.logged('swept')
  for (const [folder, expected] of [
    ['blobs', chunks],
    ['tmp', 0],
  ] as const) {
    const entries = await readdir(join(place.data, folder), {
      recursive: true,
      withFileTypes: true,
    })
    assert.equal(entries.filter((entry) => entry.isFile()).length, expected, folder)
  }
}
