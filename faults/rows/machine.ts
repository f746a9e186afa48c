import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { eventually } from '../../e2e/processes.ts'
import { client, resourceOf } from '../../packages/server/test/helpers/companies.ts'
import { type Answer, call } from '../../packages/server/test/helpers/http.ts'
import { mountSmallDisk } from '../../packages/server/test/helpers/small-disk.ts'
import {
  assertStatus,
  isAcknowledged,
  KINDS,
  LARGE,
  newTag,
  OPERATIONS,
  pattern,
  type Stored,
  store,
  trySend,
} from '../operations.ts'
import { copyData, startApart, startPlaceApart, startPlaceHere } from '../place.ts'
import type { Row, RowScope } from '../row.ts'
import { assertSound } from '../sound.ts'

const YEAR_MS = 365 * 24 * 3600 * 1000
const SMALL = 60_000
const DISK_MIB = 24
const DESCRIPTORS = 48
const CLIENTS = 60

/** The machine under the server: its disk, its descriptors, its clock. */
export const machine: readonly Row[] = [
  { step: 'uploads of every kind', fault: 'the disk is full, the database too', run: fullDisk },
  { step: 'uploads of every kind', fault: 'the process has no descriptor left', run: noDescriptor },
  { step: 'uploads of every kind', fault: "the database's log cannot be synced", run: noSync },
  {
    step: 'uploads of every kind',
    fault: 'the clock jumps a year ahead and back',
    run: clockJumps,
  },
]

/** Sends until the disk is full, small and large files in turn. */
async function fullDisk(t: RowScope): Promise<number> {
  const disk = await mountSmallDisk(t, DISK_MIB)
  if (!disk) return 0
  const here = await startPlaceHere(t)
  await here.server.close()
  const data = join(disk, 'data')
  await copyData(here.data, data)
  // Whoever mends it makes room.
  const filler = join(disk, 'filler')
  await writeFile(filler, Buffer.alloc(4 * 1024 * 1024))
  const place = await startApart(t, { data, people: here })

  const kept: Stored[] = []
  let refusals = 0
  for (const size of [LARGE, SMALL]) {
    for (let sent = 0, refused = 0; refused < KINDS.length; sent += 1) {
      assert.ok(sent < 1000, 'the disk is full one day')
      const kind = KINDS[sent % KINDS.length]
      assert.ok(kind)
      const { answer, stored } = await trySend(place, kind, size)
      if (stored) kept.push(stored)
      else {
        assertStatus(507, answer)
        assert.deepEqual(answer.body, kind.refusal(507))
        refused += 1
        refusals += 1
      }
    }
  }
  assertStatus(200, await call(place.server, 'GET', '/health/ready'))
  // Of an account a download is a row, for which there is no room.
  for (const file of kept) if (file.kind.name !== 'account file') await file.check(place)

  await place.server.kill()
  await rm(filler)
  await place.startAgain()
  await place.server.logged('swept')
  for (const file of kept) await file.check(place)
  for (const kind of KINDS) await (await store(place, kind, SMALL)).check(place)
  await assertSound(data)
  return refusals
}

/** More clients at once than the process may have descriptors. */
async function noDescriptor(t: RowScope): Promise<number> {
  const here = await startPlaceHere(t)
  await here.server.close()
  const launch = { under: ['prlimit', `--nofile=${DESCRIPTORS}`] }
  const place = await startApart(t, { data: here.data, people: here }, {}, {}, launch)
  const kinds = Array.from({ length: CLIENTS }, (_, at) => KINDS[at % KINDS.length])
  const outcomes = await Promise.allSettled(
    kinds.map((kind) => trySend(place, kind as (typeof KINDS)[number], LARGE)),
  )
  const kept: Stored[] = []
  let refused = 0
  for (const outcome of outcomes) {
    // A connection that could not be taken is no answer.
    if (outcome.status === 'rejected') refused += 1
    else if (outcome.value.stored) kept.push(outcome.value.stored)
    else {
      assertStatus(503, outcome.value.answer)
      refused += 1
    }
  }
  assert.ok(refused > 0, 'there were too many')
  for (const file of kept) await file.check(place)
  for (const kind of KINDS) await (await store(place, kind, LARGE)).check(place)
  await place.server.stop()
  await place.startAgain()
  await place.server.logged('swept')
  for (const file of kept) await file.check(place)
  await assertSound(place.data)
  return refused
}

/** A failed sync says nothing of what was written: the server ends, and what it said before stands. */
async function noSync(t: RowScope): Promise<number> {
  const place = await startPlaceApart(t)
  const kept: Stored[] = []
  for (const operation of OPERATIONS) {
    const attempt = await operation.begin(place)
    await place.order({ failLogSyncs: true })
    const answer: Answer | undefined = await attempt.send().catch(() => undefined)
    if (answer) {
      assertStatus(503, answer)
      assert.deepEqual(answer.body, operation.refusal(503))
    }
    const { code } = await place.server.ended
    assert.equal(code, 1)
    await place.startAgain()
    await place.server.logged('swept')
    await attempt.check(false)
    assert.ok(isAcknowledged(await attempt.send()))
    await attempt.check(true)
    await attempt.finish?.()
    for (const kind of KINDS.slice(0, 1)) kept.push(await store(place, kind, SMALL))
  }
  for (const file of kept) await file.check(place)
  await assertSound(place.data)
  return OPERATIONS.length
}

/** Whole files do not depend on the time of day. An upload is forgotten when its time seems over. */
async function clockJumps(t: RowScope): Promise<number> {
  const place = await startPlaceApart(t)
  const kept: Stored[] = []
  const storeAll = async () => {
    for (const kind of KINDS.slice(2))
      kept.push(await store(place, kind, SMALL), await store(place, kind, LARGE))
  }
  await storeAll()
  const member = () => client(place.server, place.company, place.company.member)
  const { id } = resourceOf(await member().init({ filename: newTag() }))
  const chunk = (number: number) =>
    member().send(id, pattern(1000, number), {
      total_chunks: 2,
      total_Size: 2000,
      chunk_number: number,
    })
  assertStatus(200, await chunk(1))

  const jumps = [YEAR_MS, 0, -YEAR_MS, 0]
  for (const clock of jumps) {
    await place.order({ clock })
    await storeAll()
    for (const file of kept) await file.check(place)
  }
  // It came back in time: nobody has looked in between.
  assertStatus(200, await chunk(2))

  for (const clock of jumps) {
    await place.server.stop()
    await place.startAgain({ clock })
    await place.server.logged('swept')
    for (const file of kept) await file.check(place)
    await storeAll()
    await eventually('it is ready', 5000, async () =>
      (await call(place.server, 'GET', '/health/ready')).status === 200 ? true : undefined,
    )
    await place.server.kill()
    await place.startAgain({ clock: 0 })
    await place.server.logged('swept')
    for (const file of kept) await file.check(place)
    await assertSound(place.data)
  }
  return jumps.length * 2
}
