import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { eventually, type ServerProcess } from '../../e2e/processes.ts'
import type { Failpoint } from '../../packages/server/src/core/failpoints.ts'
import { folderPaths } from '../../packages/server/src/store/folder.ts'
import { testFolder } from '../../packages/server/test/helpers/cleanup.ts'
import { client, resourceOf } from '../../packages/server/test/helpers/companies.ts'
import { call } from '../../packages/server/test/helpers/http.ts'
import { filesBelow } from '../../packages/server/test/helpers/store.ts'
import type { Order } from '../arm.ts'
import { killAtEachStep } from '../each-step.ts'
import { change, litter } from '../litter.ts'
import {
  assertStatus,
  KINDS,
  LARGE,
  newTag,
  pattern,
  type Stored,
  store,
  trySend,
} from '../operations.ts'
import { copyData, type PlaceHere, settingsOf, startArmed, startPlaceHere } from '../place.ts'
import type { Row, RowScope } from '../row.ts'
import { assertSound } from '../sound.ts'

const MOST_HITS = 2
const DAY_MS = 24 * 3600 * 1000

/** A start, and the work that begins with it. */
interface Start {
  readonly name: string
  readonly steps: readonly Failpoint[]
  readonly order: Order
  /** Makes a folder that a server has not started on. */
  prepare(t: RowScope): Promise<Prepared>
}

interface Prepared {
  readonly data: string
  /** Settles when everything is done that comes with a start. */
  settled(server: ServerProcess): Promise<unknown>
  check(server: ServerProcess): Promise<void>
}

const FIRST: Start = {
  name: 'first start',
  order: {},
  steps: [
    ...['start.locked', 'new-file.written', 'new-file.linked', 'start.key-read', 'start.marked'],
    ...['object.created', 'object.written', 'object.synced', 'object.renamed', 'object.durable'],
    ...['start.keyring-opened', 'start.migrated', 'start.checkpointed', 'transaction.worked'],
    ...['transaction.committed', 'transaction.durable', 'start.bound'],
  ] as Failpoint[],
  async prepare(t) {
    return {
      data: join(await testFolder(t), 'data'),
      settled: (server) => server.logged('swept'),
      async check(server) {
        assertStatus(200, await call(server, 'GET', '/health/ready'))
      },
    }
  },
}

const LATER: Start = {
  name: 'start: sweep, uploads expire, records are purged',
  // What lies in the trash goes after a day.
  order: { clock: 2 * DAY_MS },
  steps: [
    ...['unfinished.removed', 'sweep.deletions-finished', 'sweep.listed', 'object.trashed'],
    ...['sweep.trashed', 'trash.removed', 'upload.expired', 'records.purged', 'blob.released'],
    ...['blob.unlinked', 'object.removed', 'blob.emptied'],
    ...['transaction.worked', 'transaction.committed', 'transaction.durable'],
  ] as Failpoint[],
  prepare: prepareWork,
}

/** kill -9 at every step of a start and of the work that begins with it. */
export const starts: readonly Row[] = [FIRST, LATER].map((start) => ({
  step: start.name,
  fault: `kill -9 at ${start.steps.join(', ')}`,
  run: (t) => killStarts(t, start),
}))

function killStarts(t: RowScope, start: Start): Promise<number> {
  return killAtEachStep(start.steps, MOST_HITS, async (kill) => {
    const prepared = await start.prepare(t)
    if (!(await killedAt(t, prepared, { ...start.order, kill }))) return false
    const server = await startArmed(t, settingsOf(prepared.data), start.order)
    await prepared.settled(server)
    await prepared.check(server)
    await server.stop()
    await assertSound(prepared.data)
    return true
  })
}

async function killedAt(t: RowScope, prepared: Prepared, order: Order): Promise<boolean> {
  let server: ServerProcess
  try {
    server = await startArmed(t, settingsOf(prepared.data), order)
  } catch {
    // It ended before it listened.
    return true
  }
  const settled = prepared.settled(server).catch(() => undefined)
  await Promise.race([settled, server.ended])
  await server.stop()
  return server.child.signalCode === 'SIGKILL'
}

let work: Promise<{ place: PlaceHere; kept: Stored; uploads: string[] }> | undefined

/** A folder on which a start has everything to do that there is. */
async function prepareWork(t: RowScope): Promise<Prepared> {
  work ??= makeWork(t)
  const { place, kept, uploads } = await work
  const data = join(await testFolder(t), 'data')
  await copyData(place.data, data)
  const database = folderPaths(data).database
  return {
    data,
    async settled(server) {
      await server.logged('swept')
      await eventually('all is expired and purged', 10_000, () =>
        count(database, 'select count(*) as count from company_upload') === 0 &&
        count(database, 'select count(*) as count from account_file') === 1
          ? true
          : undefined,
      )
    },
    async check(server) {
      await kept.check({ ...place, server })
      const member = client(server, place.company, place.company.member)
      for (const id of uploads) assertStatus(404, await member.state(id))
      assert.deepEqual(await filesBelow(join(data, 'tmp')), [])
      assert.deepEqual(await filesBelow(join(data, 'trash')), [])
    },
  }
}

async function makeWork(t: RowScope) {
  const place = await startPlaceHere(t)
  const [, , account] = KINDS
  assert.ok(account)
  const kept = await store(place, account, LARGE)
  // One whose removal a crash has interrupted, and one whose record goes after a month.
  await store(place, account, LARGE)
  const { answer } = await trySend(place, account, LARGE)
  const { id: trashed } = (answer.body as { data: { id: string } }).data
  await place.server.core.accountFiles.trash(place.owner.id, trashed)
  const uploads: string[] = []
  const member = client(place.server, place.company, place.company.member)
  for (let upload = 0; upload < 2; upload += 1) {
    const { id } = resourceOf(await member.init({ filename: newTag() }))
    const query = { total_chunks: 2, total_Size: 2000, chunk_number: 1 }
    assertStatus(200, await member.send(id, pattern(1000, 3), query))
    uploads.push(id)
  }
  while (await place.server.core.accountFiles.indexNames());
  await place.server.close()

  await litter(place.data, 2)
  change(
    place.data,
    `update account_file set trashed_at = 0 where n = 3;
     update company_upload set expires_at = 0;`,
  )
  return { place, kept, uploads }
}

function count(file: string, sql: string): number {
  const database = new DatabaseSync(file, { readOnly: true, timeout: 1000 })
  try {
    return Number(database.prepare(sql).get()?.count)
  } finally {
    database.close()
  }
}
