import assert from 'node:assert/strict'
import { eventually } from '../../e2e/processes.ts'
import type { Failpoint } from '../../packages/server/src/core/failpoints.ts'
import { client, resourceOf } from '../../packages/server/test/helpers/companies.ts'
import { assertStatus, newTag } from '../operations.ts'
import { type PlaceApart, startPlaceApart } from '../place.ts'
import type { Row, RowScope } from '../row.ts'
import { assertSound } from '../sound.ts'

const STEPS: readonly Failpoint[] = ['preview.leased', 'preview.made', 'preview.kept']
/** Longer than the lease of a process that is no more. */
const TAKEN_OVER_MS = 60_000
/** One red pixel. */
const PICTURE = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==',
  'base64',
)

/** kill -9 while a preview is made: the next process makes it. */
export const previews: readonly Row[] = [
  {
    step: 'preview: company file',
    fault: `kill -9 at ${STEPS.join(', ')}`,
    waits: true,
    run: killPreviews,
  },
]

async function killPreviews(t: RowScope): Promise<number> {
  const place = await startPlaceApart(t, { HOLDFAST_PREVIEW_MAX_MB: '50' })
  const { kinds } = (await place.server.logged('previews')) as { kinds: Record<string, string> }
  if (kinds.image !== 'on') {
    t.skip(`previews of pictures are ${kinds.image} here`)
    return 0
  }
  for (const step of STEPS) await killedAt(place, step)
  return STEPS.length
}

async function killedAt(place: PlaceApart, step: Failpoint): Promise<void> {
  const app = () => client(place.server, place.company, place.company.app)
  await place.order({ kill: { step, hit: 1 } })
  const answer = await app().upload(PICTURE, { filename: `${newTag()}.png` })
  assertStatus(200, answer)
  const { id } = resourceOf(answer)
  await place.server.ended
  assert.equal(place.server.child.signalCode, 'SIGKILL', step)

  await place.startAgain()
  await place.server.logged('swept')
  await eventually(`the preview is made after a kill at ${step}`, TAKEN_OVER_MS, async () =>
    (await app().thumbnail(id)).status === 200 ? true : undefined,
  )
  const { bytes } = await app().download(id)
  assert.equal(Buffer.compare(bytes, PICTURE), 0)
  await assertSound(place.data)
}
