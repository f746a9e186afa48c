import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../packages/server/src/config.ts'
import { folderPaths } from '../packages/server/src/store/folder.ts'
import { pattern } from '../packages/server/test/helpers/bytes.ts'
import type { Answer } from '../packages/server/test/helpers/http.ts'
import {
  createOpenBox,
  deleteBox,
  deleteMessage,
  download,
  filesWithBytes,
  listSaved,
  type SavedFileJson,
  SIZES,
  save,
  saved,
  savedUpload,
  unsave,
} from '../packages/server/test/helpers/saved-files.ts'
import {
  signIn,
  startTestServer,
  type TestServer,
  upload,
} from '../packages/server/test/helpers/server.ts'

const ROUNDS = process.env.SLOW === '1' ? 400 : 24

type Send = () => Promise<Answer>

async function people(server: TestServer) {
  const ann = await signIn(server, 'Ann Example')
  const bob = await signIn(server, 'Bob Example')
  const cid = await signIn(server, 'Cid Example')
  return { ann, bob, cid }
}

/**
 * Two requests at once, now the one and now the other first. On SQLite, while they come in, another
 * connection keeps the database locked as a command does: both wait with whatever they looked at before.
 */
async function race(
  server: TestServer,
  round: number,
  one: Send,
  other: Send,
): Promise<[Answer, Answer]> {
  const isSwapped = round % 2 === 1
  const [first, second] = isSwapped ? [other, one] : [one, other]
  const answers = await (server.config.postgres
    ? withHeadStart(first, second, 2 + 3 * round)
    : besideCommand(server.config, first, second))
  return isSwapped ? [answers[1], answers[0]] : answers
}

async function besideCommand(config: Config, first: Send, second: Send): Promise<[Answer, Answer]> {
  const command = new DatabaseSync(folderPaths(config.data).database)
  command.exec('begin immediate')
  try {
    const answers = Promise.all([first(), second()])
    await sleep(6)
    command.exec('rollback')
    return await answers
  } finally {
    command.close()
  }
}

/** In the end the first is done before the second comes, so that each wins at some time. */
async function withHeadStart(
  first: Send,
  second: Send,
  milliseconds: number,
): Promise<[Answer, Answer]> {
  const answer = first()
  await sleep(milliseconds)
  return Promise.all([answer, second()])
}

for (const [kind, size] of Object.entries(SIZES)) {
  const bytes = pattern(size)

  test(`saving a ${kind} file while its message is deleted: saved and readable, or refused and gone`, async (t) => {
    const server = await startTestServer(t)
    const { ann, bob } = await people(server)
    const box = await createOpenBox(server, ann, bob)
    const kept: string[] = []
    let refused = 0
    for (let round = 0; round < ROUNDS; round += 1) {
      const { fileId, eventId } = await upload(server, ann, box, bytes)
      const [saving, deletion] = await race(
        server,
        round,
        () => save(server, bob, fileId),
        () => deleteMessage(server, ann, box, eventId),
      )
      assert.equal(deletion.status, 201)
      const read = await download(server, bob, fileId)
      if (saving.status === 201) {
        kept.push(fileId)
        assert.equal(read.status, 200, 'what is saved can be read')
        assert.ok(read.bytes.equals(bytes))
        assert.equal((await download(server, ann, fileId)).status, 403)
      } else {
        refused += 1
        assert.equal(saving.status, 403)
        assert.equal(read.status, 404)
      }
      assert.deepEqual(await filesWithBytes(server), [...kept].sort())
    }
    const list = await listSaved(server, bob)
    assert.deepEqual(list.map((file) => file.encrypted_file_id).reverse(), kept)
    assert.ok(kept.length > 0 && refused > 0, `${kept.length} kept, ${refused} refused`)
  })

  test(`saving a ${kind} file while its box is deleted: saved and readable, or refused and gone`, async (t) => {
    const server = await startTestServer(t)
    const { ann, bob } = await people(server)
    const kept: string[] = []
    let refused = 0
    for (let round = 0; round < ROUNDS; round += 1) {
      const box = await createOpenBox(server, ann, bob)
      const { fileId } = await upload(server, ann, box, bytes)
      const [saving, deletion] = await race(
        server,
        round,
        () => save(server, bob, fileId),
        () => deleteBox(server, ann, box),
      )
      assert.equal(deletion.status, 204)
      const read = await download(server, bob, fileId)
      if (saving.status === 201) {
        kept.push(fileId)
        assert.equal(read.status, 200)
        assert.ok(read.bytes.equals(bytes))
      } else {
        refused += 1
        assert.equal(saving.status, 403)
        assert.equal(read.status, 404)
      }
      assert.deepEqual(await filesWithBytes(server), [...kept].sort())
    }
    assert.ok(kept.length > 0 && refused > 0, `${kept.length} kept, ${refused} refused`)
  })

  test(`the last two savers of a ${kind} file give it up at once: its bytes go, once`, async (t) => {
    const server = await startTestServer(t)
    const { ann, bob, cid } = await people(server)
    const box = await createOpenBox(server, ann, bob, cid)
    for (let round = 0; round < ROUNDS / 2; round += 1) {
      const { fileId, eventId } = await upload(server, ann, box, bytes)
      const bobs = await saved(server, bob, fileId)
      const cids = await saved(server, cid, fileId)
      await deleteMessage(server, ann, box, eventId)
      const answers = await race(
        server,
        round,
        () => unsave(server, bob, bobs),
        () => unsave(server, cid, cids),
      )
      assert.deepEqual(
        answers.map(({ status }) => status),
        [204, 204],
      )
      assert.equal((await download(server, bob, fileId)).status, 404)
      assert.deepEqual(await filesWithBytes(server), [])
    }
  })

  test(`all links of a ${kind} file go at once: every request is answered, and the bytes go`, async (t) => {
    const server = await startTestServer(t)
    const { ann, bob, cid } = await people(server)
    for (let round = 0; round < ROUNDS / 4; round += 1) {
      const box = await createOpenBox(server, ann, bob, cid)
      const { fileId, eventId } = await upload(server, bob, box, bytes)
      const bobs = await saved(server, bob, fileId)
      const cids = await saved(server, cid, fileId)
      const [byBob, byCid, message, again, wholeBox] = await Promise.all([
        unsave(server, bob, bobs),
        unsave(server, cid, cids),
        deleteMessage(server, bob, box, eventId),
        unsave(server, bob, bobs),
        deleteBox(server, ann, box),
      ])
      assert.deepEqual([byBob.status, again.status].sort(), [204, 404])
      assert.equal(byCid.status, 204)
      assert.equal(wholeBox.status, 204)
      assert.ok(message.status === 201 || message.status === 403, `${message.status}`)
      assert.equal((await download(server, bob, fileId)).status, 404)
      assert.deepEqual(await filesWithBytes(server), [])
    }
  })

  test(`a ${kind} file that is read while its last link goes is read whole or not there`, async (t) => {
    const server = await startTestServer(t)
    const { ann } = await people(server)
    for (let round = 0; round < ROUNDS; round += 1) {
      const { id, encrypted_file_id: fileId } = await savedUpload(server, ann, bytes)
      const reading = () => Array.from({ length: 5 }, () => download(server, ann, fileId))
      const before = reading()
      const deletion = unsave(server, ann, id)
      for (const read of await Promise.all([...before, ...reading()])) {
        if (read.status === 200) assert.ok(read.bytes.equals(bytes), 'the whole file')
        else assert.ok([403, 404].includes(read.status), `${read.status} ${read.bytes}`)
      }
      assert.equal((await deletion).status, 204)
      assert.deepEqual(await filesWithBytes(server), [])
    }
    assert.deepEqual(
      server.logged.filter(({ msg }) => msg === 'failed'),
      [],
    )
  })
}

test('one person saves one file many times at once: one is taken, the others are 409', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob } = await people(server)
  const box = await createOpenBox(server, ann, bob)
  for (let round = 0; round < ROUNDS / 8; round += 1) {
    const { fileId } = await upload(server, ann, box)
    const answers = await Promise.all(Array.from({ length: 5 }, () => save(server, bob, fileId)))
    const statuses = answers.map(({ status }) => status).sort((a, b) => a - b)
    assert.deepEqual(statuses, [201, 409, 409, 409, 409])
    const winner = answers.find(({ status }) => status === 201)?.body as SavedFileJson
    const [newest] = await listSaved(server, bob)
    assert.deepEqual(newest, winner)
    assert.equal((await listSaved(server, bob)).length, round + 1)
  }
})

test('who leaves while she saves has saved or was refused, and no byte is lost', async (t) => {
  const server = await startTestServer(t)
  const { ann, bob } = await people(server)
  const box = await createOpenBox(server, ann, bob)
  for (let round = 0; round < ROUNDS / 4; round += 1) {
    const { fileId, eventId } = await upload(server, ann, box)
    const [saving] = await Promise.all([
      save(server, bob, fileId),
      server.core.boxes.leave(bob.id, box),
    ])
    await deleteMessage(server, ann, box, eventId)
    const read = await download(server, bob, fileId)
    assert.ok(
      saving.status === 201 ? read.status === 200 : saving.status === 403 && read.status === 404,
      `${saving.status}, then ${read.status}`,
    )
    await server.core.boxes.join(bob.id, box)
  }
})
