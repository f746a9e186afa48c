/**
 * Proves that keys can be changed beside a server that is used: `keys new-epoch` and `keys rekey` run,
 * and are killed (SIGKILL) at any moment, as the server is, while clients upload and download. Every
 * acknowledged file reads back identical at all times, and in the end nothing is sealed by the first
 * epoch. Then the root key is changed, by runs that are killed, and the store opens with the key that
 * its marker names after each of them.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { environmentOf, holdfast, holdfastJson, ROOT, type Settings } from './processes.ts'
import {
  download,
  type Place,
  startAgain,
  startPlace,
  storedFiles,
  upload,
} from './server-process.ts'

const KIB = 1024
const ROUNDS = 12
const FILES = 40
const LARGEST = 6 * KIB * KIB
const KILL_MOST_MS = 1500
const ROOT_ROUNDS = 10
const COMMAND = join(ROOT, 'packages/server/src/cli/main.ts')

interface Report {
  current: number
  dropped: number[]
  left: number[]
  damaged: number
}

test('rekey that is killed again and again, beside a server that is used and killed, loses nothing', async (t) => {
  const place = await startPlace(t)
  const digests = new Map<string, string>()
  for (let file = 0; file < FILES; file += 1) await store(place, digests)
  assert.deepEqual(await holdfastJson(place.settings, 'keys', 'new-epoch'), {
    epoch: 2,
    kind: 'x25519',
  })

  for (let round = 0; round < ROUNDS; round += 1) {
    const rekey = spawnHoldfast(place.settings, 'keys', 'rekey')
    const until = Date.now() + randomInt(KILL_MOST_MS)
    const isServerKilled = round % 4 === 3
    while (Date.now() < until) {
      await store(place, digests)
      await check(place, digests, 5)
    }
    await kill(rekey)
    if (!isServerKilled) continue
    await place.server.kill()
    await startAgain(t, place)
    await place.server.logged('swept')
    await check(place, digests, digests.size)
  }

  const report = await holdfastJson<Report>(place.settings, 'keys', 'rekey')
  assert.deepEqual([report.current, report.left, report.damaged], [2, [], 0])
  const { epochs } = await holdfastJson<{ epochs: { epoch: number; parts: number }[] }>(
    place.settings,
    ...['keys', 'status'],
  )
  assert.deepEqual(
    epochs.map(({ epoch }) => epoch),
    [2],
  )
  assert.equal((await storedFiles(place, 'blobs')).length, epochs[0]?.parts)
  await check(place, digests, digests.size)
  await place.server.stop()
  await startAgain(t, place)
  await check(place, digests, digests.size)
  t.diagnostic(`${digests.size} files`)
})

test('a change of the root key that is killed again and again leaves a store that its marker’s key opens', async (t) => {
  const place = await startPlace(t)
  const digests = new Map<string, string>()
  await store(place, digests)
  const refused = await holdfast(place.settings, ...newRoot(`${place.data}.0.key`), '--json')
  assert.deepEqual([refused.code, refused.stdout], [2, ''])
  assert.match(refused.stderr, /server holds/)
  await place.server.stop()

  let keyFile = `${place.data}.key`
  for (let round = 1; round <= ROOT_ROUNDS; round += 1) {
    const settings = { ...place.settings, HOLDFAST_ROOT_KEY_FILE: keyFile }
    const next = `${place.data}.${round}.key`
    for (let kills = 0; kills < 3; kills += 1) {
      const command = spawnHoldfast(settings, ...newRoot(next))
      await new Promise((resolve) => setTimeout(resolve, 250 + randomInt(300)))
      await kill(command)
      await openedByMarker(settings, keyFile, next)
    }
    await holdfastJson(settings, ...newRoot(next))
    keyFile = next
    await openedByMarker(settings, keyFile, keyFile)
  }
  Object.assign(place.settings, { HOLDFAST_ROOT_KEY_FILE: keyFile })
  await startAgain(t, place)
  await check(place, digests, 1)
})

function newRoot(file: string): string[] {
  return ['keys', 'new-root', '--new-key-file', file]
}

/** Of two key files, the one that the marker names opens the store. */
async function openedByMarker(settings: Settings, ...files: string[]): Promise<void> {
  const { HOLDFAST_DATA: data = '' } = settings
  const { root } = JSON.parse(await readFile(join(data, 'holdfast-volume.json'), 'utf8'))
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => '')
    if (!text.includes(`# public key: ${root}\n`)) continue
    await holdfastJson({ ...settings, HOLDFAST_ROOT_KEY_FILE: file }, 'keys', 'status')
    return
  }
  assert.fail(`neither ${files} is the key of ${root}`)
}

async function store(place: Place, digests: Map<string, string>): Promise<void> {
  const bytes = randomBytes(randomInt(1, randomInt(2) === 0 ? 64 * KIB : LARGEST))
  const { fileId } = await upload(place, bytes)
  digests.set(fileId, digestOf(bytes))
}

/** Downloads so many of the files, at random when not all. */
async function check(place: Place, digests: Map<string, string>, count: number): Promise<void> {
  const files = [...digests]
  for (let at = 0; at < Math.min(count, files.length); at += 1) {
    const [fileId, digest] = files[count < files.length ? randomInt(files.length) : at] as [
      string,
      string,
    ]
    const answer = await download(place, fileId)
    const bytes = new Uint8Array(await answer.arrayBuffer())
    assert.deepEqual([answer.status, digestOf(bytes)], [200, digest])
  }
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function spawnHoldfast(settings: Settings, ...words: string[]): ChildProcess {
  return spawn(process.execPath, [COMMAND, ...words], {
    cwd: ROOT,
    env: environmentOf(settings),
    stdio: 'ignore',
  })
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}
