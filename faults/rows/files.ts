import assert from 'node:assert/strict'
import { eventually } from '../../e2e/processes.ts'
import { type Answer, call } from '../../packages/server/test/helpers/http.ts'
import { type Call, createFaultyFiles, type FaultyFiles, SHORT } from '../faulty-files.ts'
import { litter } from '../litter.ts'
import {
  type Attempt,
  assertStatus,
  DOWNLOADS,
  isAcknowledged,
  KINDS,
  LARGE,
  OPERATIONS,
  type Operation,
  store,
} from '../operations.ts'
import { type PlaceHere, startPlaceHere } from '../place.ts'
import type { Row, RowScope } from '../row.ts'
import { assertSound } from '../sound.ts'

/** A kind of trouble with files: what the calls answer that can meet it. */
interface Trouble {
  readonly name: string
  readonly code: string
  readonly calls: readonly Call[]
}

const TROUBLES: readonly Trouble[] = [
  {
    name: 'the disk is full (ENOSPC)',
    code: 'ENOSPC',
    calls: ['mkdir', 'open', 'rename', 'writev', 'datasync', 'sync', 'unlink', 'close'],
  },
  {
    name: 'the disk fails (EIO)',
    code: 'EIO',
    calls: [
      ...(['mkdir', 'open', 'rename', 'writev', 'datasync', 'sync'] as const),
      ...(['unlink', 'close', 'read'] as const),
    ],
  },
  { name: 'no descriptor is left (EMFILE)', code: 'EMFILE', calls: ['open'] },
  { name: 'a call is interrupted (EINTR)', code: 'EINTR', calls: ['open', 'writev', 'datasync'] },
  { name: 'a write takes only some bytes', code: SHORT, calls: ['writev'] },
]

/** Requests that touch files, those left out that make the very same calls as another one. */
const TOUCHING = OPERATIONS.filter(
  ({ name, steps }) =>
    steps.some((step) => step.startsWith('object.')) && !/the (first|middle) chunk/.test(name),
)

const SWEEP_TROUBLES = TROUBLES.filter(({ code }) => code === 'ENOSPC' || code === 'EIO')
const SWEEP_CALLS: readonly Call[] = ['mkdir', 'open', 'rename', 'sync', 'unlink', 'close']

/** Every call of every request, and of a sweep, goes wrong, one at a time. */
export const files: readonly Row[] = [
  ...TOUCHING.flatMap((operation) =>
    TROUBLES.filter((trouble) => meets(operation, trouble)).map((trouble) => ({
      step: operation.name,
      fault: `${trouble.name}, at every call`,
      run: (t: RowScope) => failEverywhere(t, operation, trouble),
    })),
  ),
  ...DOWNLOADS.map((download) => ({
    step: download.name,
    fault: 'the disk fails (EIO), at every call',
    run: (t: RowScope) => failReading(t, download),
  })),
  ...SWEEP_TROUBLES.map(({ name, code }) => ({
    step: 'sweep',
    fault: `${name}, at every call`,
    run: (t: RowScope) => failSweeping(t, code),
  })),
]

/** Deletions write nothing. */
function meets({ steps }: Operation, { calls }: Trouble): boolean {
  return steps.includes('object.written') || calls.includes('unlink')
}

async function failEverywhere(
  t: RowScope,
  operation: Operation,
  trouble: Trouble,
): Promise<number> {
  const faulty = createFaultyFiles()
  const place = await startPlaceHere(t, faulty.files)
  let times = 0
  for (const call of trouble.calls) {
    for (let nth = 1; ; nth += 1) {
      const attempt = await operation.begin(place)
      faulty.arm({ call, nth, code: trouble.code })
      const answer = await attempt.send()
      const fired = faulty.fired()
      faulty.arm(undefined)
      if (!fired) {
        await attempt.finish?.()
        break
      }
      times += 1
      try {
        await assertHeld(place, operation, attempt, answer, trouble.code)
        await assertTidy(place, faulty)
      } catch (error) {
        throw new Error(`${call} number ${nth} answered ${trouble.code}`, { cause: error })
      }
    }
  }
  assert.ok(times > 0, 'something went wrong')
  return times
}

/** What was refused was refused well, has changed nothing or all, and works the next time. */
async function assertHeld(
  place: PlaceHere,
  operation: Operation,
  attempt: Attempt,
  answer: Answer,
  code: string,
): Promise<void> {
  const acknowledged = isAcknowledged(answer)
  await attempt.check(acknowledged)
  if (!acknowledged) {
    // Who deletes is told that it is not done; why is not the client's business.
    const isFull = code === 'ENOSPC' && answer.status !== 503
    const status = isFull ? 507 : 503
    assertStatus(status, answer)
    assert.deepEqual(answer.body, operation.refusal(status))
    const again = await attempt.send()
    if (!isAcknowledged(again)) assertStatus(200, again)
    await attempt.check(true)
  }
  await attempt.finish?.()
  assertStatus(200, await call(place.server, 'GET', '/health/ready'))
}

async function assertTidy(place: PlaceHere, faulty: FaultyFiles): Promise<void> {
  await eventually('every descriptor is closed', 5000, () => faulty.open() === 0 || undefined)
  // As a server does that starts later: everything that is there is older.
  await place.server.core.sweep(Date.now() + 60_000)
  await assertSound(place.data)
}

async function failReading(t: RowScope, download: (typeof DOWNLOADS)[number]): Promise<number> {
  const faulty = createFaultyFiles()
  const place = await startPlaceHere(t, faulty.files)
  const { bytes, content } = await download.begin(place)
  let times = 0
  for (const call of ['open', 'read', 'close'] as const) {
    for (let nth = 1; ; nth += 1) {
      faulty.arm({ call, nth, code: 'EIO' })
      const answer = await content().catch(() => undefined)
      const fired = faulty.fired()
      faulty.arm(undefined)
      if (!fired) break
      times += 1
      // A connection that is cut is no answer that could be taken for one.
      if (answer?.status === 200) assert.equal(Buffer.compare(answer.bytes, bytes), 0)
      else if (answer) {
        assertStatus(503, answer)
        assert.deepEqual(answer.body, download.refusal(503))
      }
      const again = await content()
      assert.equal(Buffer.compare(again.bytes, bytes), 0)
      await assertTidy(place, faulty)
    }
  }
  return times
}

/** A sweep that fails has removed nothing that somebody has, and the next one does what it left. */
async function failSweeping(t: RowScope, code: string): Promise<number> {
  const faulty = createFaultyFiles()
  const place = await startPlaceHere(t, faulty.files)
  const [, , account] = KINDS
  assert.ok(account)
  const kept = await store(place, account, LARGE)
  let stored = 1
  let times = 0
  for (const call of SWEEP_CALLS) {
    for (let nth = 1; ; nth += 1) {
      await store(place, account, LARGE)
      stored += 1
      await litter(place.data, stored)
      faulty.arm({ call, nth, code })
      const sweep = () => place.server.core.sweep(Date.now() + 60_000)
      const outcome = await sweep().catch((error: unknown) => error)
      const fired = faulty.fired()
      faulty.arm(undefined)
      if (!fired) {
        assert.deepEqual(outcome, { finished: 1, trashed: 1, suspicious: 0, removed: 0 })
        await place.server.core.clearUnfinished()
        break
      }
      times += 1
      await kept.check(place)
      await place.server.core.clearUnfinished()
      await assertTidy(place, faulty)
    }
  }
  return times
}
