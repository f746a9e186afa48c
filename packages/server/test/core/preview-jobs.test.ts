import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import type { PreviewJob } from '../../src/core/previews/jobs.ts'
import { inPieces } from '../helpers/bytes.ts'
import { filesBelow, openStoreOf, type TestStore, temporaryConfig } from '../helpers/store.ts'

const LEASE_MS = 20_000
const RETRY_MS = 60_000

/** A store whose process shows pictures but where nobody does the work, and somebody in a company. */
async function scene(t: TestContext, config?: TestStore['config']) {
  const settings = config ?? (await temporaryConfig(t, { HOLDFAST_SMALL_MAX_KB: '0' }))
  const store = await openStoreOf(t, settings, undefined, ['image', 'video'])
  const { core } = store
  const { id } = await core.identities.createPerson({ email: 'mia@example.com', name: 'Mia' })
  const company = await core.companies.create({
    ...{ name: 'Acme', owners: [id], managers: [], members: [] },
  })
  const caller = { identityId: id, companyId: company.id }
  return {
    ...store,
    caller,
    jobs: core.previewJobs,
    async add(name: string) {
      const staged = await core.blobs.stage(inPieces(randomBytes(10)), 100)
      return core.companyFiles.create(caller, { name }, staged)
    },
    state: async (fileId: string) => {
      const { previewState, previews } = await core.companyFiles.get(caller, fileId)
      return [previewState, previews.length]
    },
    finish: async (job: PreviewJob | undefined) => {
      assert.ok(job)
      const staged = await core.blobs.stage(inPieces(Buffer.from('picture')), 100)
      await core.previewJobs.finish(job, [{ staged, type: 'image/webp', width: 1, height: 1 }])
    },
    blobs: () => filesBelow(`${settings.data}/blobs`),
  }
}

test('jobs are taken in their order, each by one, quick and slow ones apart', async (t) => {
  const { jobs, clock, add } = await scene(t)
  const [one, film] = [await add('one.png'), await add('film.mp4')]
  clock.advance(1)
  const two = await add('two.png')
  await add('nothing.zip')
  assert.deepEqual(await jobs.count(), { waiting: 3, failed: 0 })
  const taken = [await jobs.take('a', 'quick'), await jobs.take('b', 'quick')]
  assert.deepEqual(
    taken.map((job) => [job?.file.id, job?.format]),
    [one, two].map(({ id }) => [id, { kind: 'image', extension: 'png' }]),
  )
  assert.equal(await jobs.take('a', 'quick'), undefined)
  assert.equal((await jobs.take('a', 'slow'))?.file.id, film.id)
})

test('a job of a silent process is taken over, and what that one brings later is dropped', async (t) => {
  const { jobs, clock, add, finish, state, blobs } = await scene(t)
  const { id } = await add('a.png')
  const late = await jobs.take('a', 'quick')
  clock.advance(LEASE_MS - 1)
  assert.equal(await jobs.take('b', 'quick'), undefined)
  assert.ok(late)
  await jobs.renew(late)
  clock.advance(LEASE_MS - 1)
  assert.equal(await jobs.take('b', 'quick'), undefined)
  clock.advance(1)
  const job = await jobs.take('b', 'quick')
  assert.equal(job?.file.id, id)

  await finish(late)
  await jobs.fail(late)
  assert.deepEqual(await state(id), ['waiting', 0])
  assert.equal((await blobs()).length, 1, 'the content alone')
  await finish(job)
  assert.deepEqual(await state(id), ['done', 1])
  await finish(job)
  assert.equal((await blobs()).length, 2, 'once')
})

test('a file whose processes all died is given up', async (t) => {
  const { jobs, clock, add, state } = await scene(t)
  const { id } = await add('a.png')
  for (const owner of ['a', 'b', 'c']) {
    assert.equal((await jobs.take(owner, 'quick'))?.file.id, id)
    clock.advance(LEASE_MS)
  }
  assert.deepEqual(await state(id), ['waiting', 0])
  assert.equal(await jobs.take('d', 'quick'), undefined)
  assert.deepEqual(await state(id), ['error', 0])
  assert.deepEqual(await jobs.count(), { waiting: 0, failed: 1 })
})

test('a worker that was stopped, and one that broke, give their jobs back', async (t) => {
  const { jobs, clock, add } = await scene(t)
  await add('a.png')
  for (let time = 0; time < 5; time += 1) {
    const job = await jobs.take('a', 'quick')
    assert.ok(job, 'stops are not counted')
    await jobs.giveBack(job, 'stopped')
  }
  const job = await jobs.take('a', 'quick')
  assert.ok(job)
  await jobs.giveBack(job, 'broken')
  clock.advance(RETRY_MS - 1)
  assert.equal(await jobs.take('a', 'quick'), undefined)
  clock.advance(1)
  assert.ok(await jobs.take('a', 'quick'))
})

test('what was removed while it was worked at leaves nothing', async (t) => {
  const { core, jobs, caller, add, finish, blobs } = await scene(t)
  const { id } = await add('a.png')
  const job = await jobs.take('a', 'quick')
  await core.companyFiles.remove(caller, id)
  await finish(job)
  assert.deepEqual(await blobs(), [])
  assert.deepEqual(await jobs.count(), { waiting: 0, failed: 0 })
})

test('what this process cannot show any more is not waited for', async (t) => {
  const { config, close, add, caller } = await scene(t)
  const { id } = await add('film.mp4')
  await close()
  const { core } = await openStoreOf(t, config, undefined, ['image'])
  assert.equal(await core.previewJobs.take('a', 'slow'), undefined)
  assert.equal((await core.companyFiles.get(caller, id)).previewState, 'done')
})

test('who waits is let go by success, failure, its own end and the end of the server', async (t) => {
  const { jobs, add, finish, state } = await scene(t)
  const forever = new AbortController().signal
  const [good, bad, slow] = [await add('a.png'), await add('b.png'), await add('c.mp4')]

  const shown = jobs.settled(good.id, forever)
  await finish(await jobs.take('a', 'quick'))
  await shown
  assert.deepEqual(await state(good.id), ['done', 1])

  const failed = jobs.settled(bad.id, forever)
  const job = await jobs.take('a', 'quick')
  assert.ok(job)
  await jobs.fail(job)
  await failed
  assert.deepEqual(await state(bad.id), ['error', 0])

  const left = new AbortController()
  const leaves = jobs.settled(slow.id, left.signal)
  left.abort()
  await leaves
  const stopped = jobs.settled(slow.id, forever)
  jobs.stop()
  await stopped
  assert.deepEqual(await state(slow.id), ['waiting', 0])
})
