/**
 * Proves the order of the steps behind each acknowledgement, as the operating system sees it: the
 * bytes of a large file are written and synced before the file gets its name, the name is durable
 * before the database's log is synced, and only after that sync, which begins after the last write
 * of the log, the answer goes to the socket. For small files and texts the same of the log alone,
 * and a file is unlinked only when its deletion is durable. Runs `strace` on the server process.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { type Call, parseTrace } from '../faults/power-cut/trace.ts'
import { eventually } from './processes.ts'
import {
  blobFile,
  deleteMessage,
  type Place,
  sendText,
  startPlace,
  storedFiles,
  upload,
} from './server-process.ts'
import { hasTool } from './tools.ts'

const CALLS = [
  ...['write', 'writev', 'pwrite64', 'pwritev', 'pwritev2', 'sendto', 'sendmsg'],
  ...['fsync', 'fdatasync', 'rename', 'renameat', 'renameat2', 'unlink', 'unlinkat'],
]
const WRITES = /^(write|writev|pwrite64|pwritev|pwritev2)$/
const SYNCS = /^(fsync|fdatasync)$/
const RENAMES = /^rename/
const UNLINKS = /^unlink/
/** Checkpoints come every second while something was written; a trace waits for the last one. */
const QUIET_MS = 1500

test('an answer leaves after everything that it promises is on the disk', async (t) => {
  if (!hasTool(t, 'strace')) return
  const place = await startPlace(t)
  await place.server.logged('swept')

  await t.test('a large upload', async () => {
    const { calls, result } = await traced(place, () => upload(place, randomBytes(3_000_000)))
    const answer = answerOf(calls)
    const target = blobFile(place, result.fileId)
    const rename = only(calls, RENAMES, target)
    const temporary = /"([^"]+\/tmp\/[^"]+)"/.exec(rename.text)?.[1] ?? ''
    const written = calls.filter(({ name, text }) => WRITES.test(name) && text.includes(temporary))
    assert.ok(written.length > 1, 'the file is written in groups')
    const fileSync = syncAfter(calls, temporary, last(written))
    assert.ok(fileSync.returned < rename.begun, 'the bytes are durable before they have a name')

    const folder = target.slice(0, target.lastIndexOf('/'))
    const folderSync = syncAfter(calls, `<${folder}>`, rename)
    const logSync = syncAfter(calls, log(place), last(logWrites(calls, place, answer)))
    assert.ok(folderSync.returned < logSync.begun, 'the name is durable before the row')
    assert.ok(logSync.returned < answer.begun, 'the row is durable before the answer')
  })

  await t.test('a small upload, and a text', async () => {
    const works: (() => Promise<unknown>)[] = [
      () => upload(place, randomBytes(5000)),
      () => sendText(place, 'Ym9u'),
    ]
    for (const work of works) {
      const before = await storedFiles(place, 'blobs')
      const { calls } = await traced(place, work)
      const answer = answerOf(calls)
      const logSync = syncAfter(calls, log(place), last(logWrites(calls, place, answer)))
      assert.ok(logSync.returned < answer.begun, 'the row is durable before the answer')
      assert.deepEqual(calls.filter(({ name }) => RENAMES.test(name)).length, 0)
      assert.deepEqual(await storedFiles(place, 'blobs'), before, 'no file is made')
    }
  })

  await t.test('a deletion', async () => {
    const { eventId, fileId } = await upload(place, randomBytes(300_000))
    const { calls } = await traced(place, () => deleteMessage(place, eventId))
    const answer = answerOf(calls)
    const unlink = only(calls, UNLINKS, blobFile(place, fileId))
    const decided = logWrites(calls, place, unlink)
    assert.ok(syncAfter(calls, log(place), last(decided)).returned < unlink.begun)
    assert.ok(unlink.returned < answer.begun, 'deleted means deleted')
    const logSync = syncAfter(calls, log(place), last(logWrites(calls, place, answer)))
    assert.ok(logSync.returned < answer.begun)
  })
})

/** Runs `work` while the server is traced. */
async function traced<T>(
  place: Place,
  work: () => Promise<T>,
): Promise<{ calls: Call[]; result: T }> {
  await new Promise((resolve) => setTimeout(resolve, QUIET_MS))
  const file = `${place.data}.trace`
  const strace = spawn(
    'strace',
    ['-f', '-y', '-s', '32', '-e', `trace=${CALLS.join(',')}`, '-o', file].concat(
      '-p',
      String(place.server.pid),
    ),
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  await attached(strace)
  try {
    const result = await work()
    return { calls: await finish(strace, file), result }
  } finally {
    strace.kill('SIGINT')
  }
}

async function attached(strace: ChildProcess): Promise<void> {
  let said = ''
  strace.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  await eventually('strace is attached', 10_000, () => {
    if (strace.exitCode !== null) throw new Error(`strace: ${said}`)
    return / attached/.test(said) || undefined
  })
  // It tells of the first thread only once it has all of them, but let the last one settle.
  await new Promise((resolve) => setTimeout(resolve, 200))
}

async function finish(strace: ChildProcess, file: string): Promise<Call[]> {
  const ended = once(strace, 'close')
  strace.kill('SIGINT')
  await ended
  const calls: Call[] = []
  for await (const call of parseTrace(createInterface({ input: createReadStream(file) }))) {
    calls.push(call)
  }
  return calls
}

function log(place: Place): string {
  return join(place.data, 'holdfast.db-wal')
}

/** The write that hands the acknowledgement to the socket. */
function answerOf(calls: readonly Call[]): Call {
  return only(calls, /^(write|writev|sendto|sendmsg)$/, '"HTTP/1.1 201')
}

/** Writes of the log that began before something else did. */
function logWrites(calls: readonly Call[], place: Place, before: Call): Call[] {
  return calls.filter(
    ({ name, text, begun }) =>
      WRITES.test(name) && text.includes(`<${log(place)}>`) && begun < before.begun,
  )
}

/** The first sync of a file or folder that began after a call had returned. */
function syncAfter(calls: readonly Call[], path: string, earlier: Call): Call {
  const sync = calls.find(
    ({ name, text, begun }) => SYNCS.test(name) && text.includes(path) && begun > earlier.returned,
  )
  assert.ok(sync, `${path} is synced after ${earlier.text}`)
  return sync
}

function only(calls: readonly Call[], name: RegExp, part: string): Call {
  const found = calls.filter((call) => name.test(call.name) && call.text.includes(part))
  assert.equal(found.length, 1, `${name} ${part} in ${calls.map(({ text }) => text).join('\n')}`)
  return found[0] as Call
}

function last(calls: readonly Call[]): Call {
  const call = calls.at(-1)
  assert.ok(call, 'there is such a call')
  return call
}
