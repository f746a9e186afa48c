import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pattern } from '../helpers/bytes.ts'
import { outcome, refusal } from '../helpers/http.ts'
import {
  createOpenBox,
  deleteBox,
  deleteMessage,
  download,
  filesWithBytes,
  listSaved,
  SIZES,
  save,
  saved,
  savedUpload,
  unsave,
} from '../helpers/saved-files.ts'
import {
  createBox,
  type SignedIn,
  signIn,
  startTestServer,
  type TestServer,
  upload,
} from '../helpers/server.ts'

const GONE = refusal(404, 'not_defined', 'no such file', { id: 'not_found' })
const CLOSED = refusal(403, 'not_defined', 'not a member of a box with this file')

/** Asserts that the bytes are there and who can read them: the others are refused. */
async function assertKept(
  server: TestServer,
  fileId: string,
  bytes: Uint8Array,
  readers: readonly SignedIn[],
  others: readonly SignedIn[],
): Promise<void> {
  assert.ok((await filesWithBytes(server)).includes(fileId), 'the bytes are stored')
  for (const who of readers) {
    const answer = await download(server, who, fileId)
    assert.equal(answer.status, 200, who.email)
    assert.ok(answer.bytes.equals(bytes), 'the same bytes')
  }
  for (const who of others) {
    assert.deepEqual(outcome(await download(server, who, fileId)), CLOSED, who.email)
  }
}

async function assertGone(
  server: TestServer,
  fileId: string,
  people: readonly SignedIn[],
): Promise<void> {
  assert.ok(!(await filesWithBytes(server)).includes(fileId), 'no bytes are stored')
  for (const who of people) assert.deepEqual(outcome(await download(server, who, fileId)), GONE)
}

for (const [kind, size] of Object.entries(SIZES)) {
  test(`the bytes of a ${kind} file stay while any link stands`, async (t) => {
    const server = await startTestServer(t)
    const ann = await signIn(server, 'Ann Example')
    const bob = await signIn(server, 'Bob Example')
    const cid = await signIn(server, 'Cid Example')
    const dora = await signIn(server, 'Dora Example')
    const members = [ann, bob, cid]
    const everybody = [...members, dora]
    const bytes = pattern(size)
    let box = await createOpenBox(server, ann, bob, cid)
    // Membership of some box is none of this one.
    for (const who of [bob, dora]) await createBox(server, who)

    await t.test('without savers they go with the message', async () => {
      const { fileId, eventId } = await upload(server, bob, box, bytes)
      await assertKept(server, fileId, bytes, members, [dora])
      assert.equal((await deleteMessage(server, bob, box, eventId)).status, 201)
      await assertGone(server, fileId, everybody)
    })

    await t.test('with a saver they outlive the message and go with the saved file', async () => {
      const { fileId, eventId } = await upload(server, ann, box, bytes)
      const savedId = await saved(server, bob, fileId)
      assert.equal((await deleteMessage(server, ann, box, eventId)).status, 201)
      await assertKept(server, fileId, bytes, [bob], [ann, cid, dora])
      assert.equal((await unsave(server, bob, savedId)).status, 204)
      await assertGone(server, fileId, everybody)
    })

    await t.test('a deleted message grants nothing: neither reading nor saving', async () => {
      const { fileId, eventId } = await upload(server, ann, box, bytes)
      const savedId = await saved(server, bob, fileId)
      await deleteMessage(server, ann, box, eventId)
      for (const who of everybody) {
        assert.deepEqual(outcome(await save(server, who, fileId)), CLOSED, who.email)
      }
      assert.deepEqual(await listSaved(server, cid), [])
      await unsave(server, bob, savedId)
    })

    await t.test('of two savers either may go first', async () => {
      for (const [first, second] of [
        [bob, cid],
        [cid, bob],
      ] as const) {
        const { fileId, eventId } = await upload(server, ann, box, bytes)
        const ids = new Map<SignedIn, string>()
        for (const who of [bob, cid]) ids.set(who, await saved(server, who, fileId))
        await deleteMessage(server, ann, box, eventId)
        await unsave(server, first, ids.get(first) ?? '')
        await assertKept(server, fileId, bytes, [second], [ann, first, dora])
        await unsave(server, second, ids.get(second) ?? '')
        await assertGone(server, fileId, everybody)
      }
    })

    await t.test('a saved file that goes leaves the message its bytes', async () => {
      const { fileId, eventId } = await upload(server, ann, box, bytes)
      await unsave(server, bob, await saved(server, bob, fileId))
      await assertKept(server, fileId, bytes, members, [dora])
      await deleteMessage(server, ann, box, eventId)
      await assertGone(server, fileId, everybody)
    })

    await t.test('what is refused takes no link away', async () => {
      const { fileId, eventId } = await upload(server, ann, box, bytes)
      const savedId = await saved(server, cid, fileId)
      assert.equal((await deleteMessage(server, bob, box, eventId)).status, 403)
      assert.equal((await deleteMessage(server, dora, box, eventId)).status, 403)
      assert.equal((await deleteBox(server, bob, box)).status, 403)
      assert.equal((await unsave(server, bob, savedId)).status, 403)
      await assertKept(server, fileId, bytes, members, [dora])
      await deleteMessage(server, ann, box, eventId)
      assert.equal((await deleteMessage(server, ann, box, eventId)).status, 410)
      await assertKept(server, fileId, bytes, [cid], [ann, bob, dora])
      await unsave(server, cid, savedId)
      await assertGone(server, fileId, everybody)
    })

    await t.test('who leaves takes neither access from others nor links along', async () => {
      const { fileId, eventId } = await upload(server, bob, box, bytes)
      const savedId = await saved(server, cid, fileId)
      await server.core.boxes.leave(bob.id, box)
      await server.core.boxes.leave(cid.id, box)
      await assertKept(server, fileId, bytes, [ann, cid], [bob, dora])
      await unsave(server, cid, savedId)
      await assertKept(server, fileId, bytes, [ann], [bob, cid, dora])
      await deleteMessage(server, ann, box, eventId)
      await assertGone(server, fileId, everybody)
      for (const who of [bob, cid]) await server.core.boxes.join(who.id, box)
    })

    await t.test('with a box go those of its files that nobody saved', async () => {
      const lost = await upload(server, bob, box, bytes)
      const kept = await upload(server, ann, box, bytes)
      const deleted = await upload(server, ann, box, bytes)
      const keptId = await saved(server, bob, kept.fileId)
      const deletedId = await saved(server, cid, deleted.fileId)
      await deleteMessage(server, ann, box, deleted.eventId)
      const elsewhere = await createOpenBox(server, cid, ann)
      const other = await upload(server, ann, elsewhere, bytes)

      assert.equal((await deleteBox(server, ann, box)).status, 204)
      await assertGone(server, lost.fileId, everybody)
      await assertKept(server, kept.fileId, bytes, [bob], [ann, cid, dora])
      await assertKept(server, deleted.fileId, bytes, [cid], [ann, bob, dora])
      await assertKept(server, other.fileId, bytes, [ann, cid], [bob, dora])

      await unsave(server, bob, keptId)
      await unsave(server, cid, deletedId)
      for (const { fileId } of [kept, deleted]) await assertGone(server, fileId, everybody)
      await deleteBox(server, cid, elsewhere)
      assert.deepEqual(await filesWithBytes(server), [], 'nothing is left')
      box = await createOpenBox(server, ann, bob, cid)
    })

    await t.test('what was uploaded directly goes with its saved file', async () => {
      const direct = await savedUpload(server, dora, bytes)
      await assertKept(server, direct.encrypted_file_id, bytes, [dora], members)
      await unsave(server, dora, direct.id)
      await assertGone(server, direct.encrypted_file_id, everybody)
    })

    await t.test('links outlive a restart, the last one goes as before', async () => {
      const { fileId, eventId } = await upload(server, ann, box, bytes)
      const savedId = await saved(server, bob, fileId)
      await deleteMessage(server, ann, box, eventId)
      const again = await server.restart()
      await assertKept(again, fileId, bytes, [bob], [ann, cid, dora])
      await unsave(again, bob, savedId)
      await assertGone(again, fileId, everybody)
      assert.deepEqual(await filesWithBytes(again), [])
    })
  })
}
