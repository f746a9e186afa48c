/**
 * What a power cut may interrupt: a first start, then files of every kind written, overwritten and
 * deleted through the real routes, one by one and at the same time. Runs under `strace`; what begins
 * and what was acknowledged stands between the system calls as a line in a file.
 *
 * usage: node workload.ts <folder> [<root key file>]
 */
import assert from 'node:assert/strict'
import { mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { createOwner, uploaded } from '../../packages/server/test/helpers/account.ts'
import { pattern } from '../../packages/server/test/helpers/bytes.ts'
import {
  chunkQuery,
  client,
  createCompany,
  resourceOf,
} from '../../packages/server/test/helpers/companies.ts'
import type { Answer } from '../../packages/server/test/helpers/http.ts'
import {
  deleteMessage,
  type SavedFileJson,
  saveUpload,
} from '../../packages/server/test/helpers/saved-files.ts'
import { createBox, signIn, upload } from '../../packages/server/test/helpers/server.ts'
import { type Change, configOf, digestOf, type Mark, type People, paths, start } from './place.ts'

const KIB = 1024
/** In the database; a file of some chunks; a file of several writes. */
const SIZES = [3 * KIB, 150 * KIB, 1300 * KIB]
const CHUNK = 200 * KIB

const [base = '', rootKeyFile] = process.argv.slice(2)
const { disk, marks, people: peopleFile } = paths(base)
mkdirSync(disk)
const marksFile = openSync(marks, 'w')
let steps = 0
let seed = 0

const server = await start(configOf(disk, rootKeyFile))
const people: People = {
  company: await createCompany(server),
  ann: await signIn(server, 'Ann Example'),
  owner: await createOwner(server, 'Olga Owner'),
}
writeFileSync(peopleFile, JSON.stringify(people))
const { company, ann, owner } = people
const member = client(server, company, company.member)
const app = client(server, company, company.app)
const box = await createBox(server, ann)

for (const size of SIZES) await inTurn(everyKind(size))
await overwrites()
await deletions()
await anotherEpoch()
await Promise.all([...SIZES, ...SIZES].flatMap((size) => everyKind(size)).map((work) => work()))
await server.close()

/** An upload through every route. */
function everyKind(size: number): (() => Promise<unknown>)[] {
  return [
    () => sendToBox(bytesOf(size)),
    () => saveFile(bytesOf(size)),
    () => sendToAccount(bytesOf(size)),
    () => sendToCompany(bytesOf(size)),
    () => sendInChunks(bytesOf(size)),
  ]
}

async function overwrites(): Promise<void> {
  for (const [from, to] of [
    [0, 2],
    [2, 0],
    [1, 2],
  ] as const) {
    const id = await sendToCompany(bytesOf(SIZES[from] ?? 0))
    const bytes = bytesOf(SIZES[to] ?? 0)
    await step([[`company:${id}`, digestOf(bytes)]], async () => ok(await app.send(id, bytes)))
  }
  const id = await sendInChunks(bytesOf(3 * CHUNK))
  const bytes = bytesOf(3 * CHUNK)
  await step([[`company:${id}`, digestOf(bytes)]], () => sendChunks(app, id, bytes))
}

async function deletions(): Promise<void> {
  for (const size of SIZES) {
    const sent = await sendToBox(bytesOf(size))
    const kept = await sendToAccount(bytesOf(size))
    const whole = await sendToCompany(bytesOf(size))
    await step([[`box:${sent.fileId}`, null]], async () =>
      ok(await deleteMessage(server, ann, box, sent.eventId)),
    )
    await step([[`account:${kept}`, null]], () => server.core.accountFiles.trash(owner.id, kept))
    await step([[`company:${whole}`, null]], async () => ok(await member.remove(whole)))
  }
}

/** Everything that is there is sealed anew. */
async function anotherEpoch(): Promise<void> {
  const { epochs, rekey } = server.core
  await step([], () => epochs.begin(() => Promise.resolve()))
  await step([], async () => {
    for await (const _ of rekey.run(() => Promise.resolve()));
  })
}

function sendToBox(bytes: Buffer) {
  return step(
    [],
    () => upload(server, ann, box, bytes),
    ({ fileId }) => [[`box:${fileId}`, digestOf(bytes)]],
  )
}

function saveFile(bytes: Buffer) {
  return step(
    [],
    async () => ok(await saveUpload(server, ann, bytes)).body as SavedFileJson,
    (file) => [[`saved:${file.encrypted_file_id}`, digestOf(bytes)]],
  )
}

function sendToAccount(bytes: Buffer): Promise<string> {
  return step(
    [],
    async () => (await uploaded(server, owner, 'a file', bytes)).id,
    (id) => [[`account:${id}`, digestOf(bytes)]],
  )
}

function sendToCompany(bytes: Buffer): Promise<string> {
  return step(
    [],
    async () => resourceOf(ok(await member.upload(bytes))).id,
    (id) => [[`company:${id}`, digestOf(bytes)]],
  )
}

async function sendInChunks(bytes: Buffer): Promise<string> {
  return step(
    [],
    async () => {
      const { id } = resourceOf(ok(await member.init()))
      await sendChunks(member, id, bytes)
      return id
    },
    (id) => [[`company:${id}`, digestOf(bytes)]],
  )
}

/** The last one first. */
async function sendChunks(sender: typeof member, id: string, bytes: Buffer): Promise<void> {
  const chunks = Math.max(1, Math.ceil(bytes.length / CHUNK))
  for (let number = chunks; number >= 1; number -= 1) {
    const chunk = bytes.subarray((number - 1) * CHUNK, number * CHUNK)
    ok(await sender.send(id, chunk, chunkQuery(number, chunks, bytes.length)))
  }
}

/**
 * One operation between its two marks.
 *
 * @param changes to files that are known before
 * @param made files that are known only when it has succeeded
 */
async function step<T>(
  changes: readonly Change[],
  work: () => Promise<T>,
  made: (result: T) => readonly Change[] = () => [],
): Promise<T> {
  steps += 1
  const number = steps
  mark({ step: number, acknowledged: false, changes })
  const result = await work()
  mark({ step: number, acknowledged: true, changes: [...changes, ...made(result)] })
  return result
}

function mark(line: Mark): void {
  writeSync(marksFile, `${JSON.stringify(line)}\n`)
}

function bytesOf(size: number): Buffer {
  seed += 1
  return pattern(size, seed)
}

function ok(answer: Answer): Answer {
  assert.ok(answer.status < 300, `${answer.status} ${answer.bytes}`)
  return answer
}

async function inTurn(works: (() => Promise<unknown>)[]): Promise<void> {
  for (const work of works) await work()
}
