import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { testFolder } from '../../packages/server/test/helpers/cleanup.ts'
import { cutAfterAnswers, cutAnywhere } from '../power-cut/cuts.ts'
import { type Recording, record } from '../power-cut/record.ts'
import type { Row, RowScope } from '../row.ts'
import { createRandom } from '../soak/random.ts'

const STEP = 'a first start, files of every kind, overwrites, deletions, another epoch'
const CUTS = 80
/** What a start makes is there by then. */
const FIRST_ANSWERS = 8

/** The page cache is lost: only what was synced is certain to be on the disk. */
export const powerCuts: readonly Row[] = [
  {
    step: STEP,
    fault: 'the power is cut after each answer; whatever was not synced is lost',
    run: (t) => recorded(t, cutAfterAnswers),
  },
  {
    step: STEP,
    fault:
      'the power is cut anywhere; of what was not synced, sectors and names are lost at random',
    run: (t) => recorded(t, cutAtRandom),
  },
  {
    step: `${STEP}; the root key lies elsewhere`,
    fault: 'the power is cut after the first answers; whatever was not synced is lost',
    run: (t) => recorded(t, (recording) => cutAfterAnswers(recording, FIRST_ANSWERS), 'root.key'),
  },
]

/** @param rootKey the name of its file, when it is not on the disk whose power is cut */
async function recorded(
  t: RowScope,
  cut: (recording: Recording) => Promise<number>,
  rootKey?: string,
): Promise<number> {
  if (spawnSync('strace', ['--version']).error) {
    t.skip('strace is not installed')
    return 0
  }
  const base = await testFolder(t)
  return cut(await record(base, rootKey && join(base, rootKey)))
}

async function cutAtRandom(recording: Recording): Promise<number> {
  const seed = randomUUID()
  const random = createRandom(seed)
  try {
    return await cutAnywhere(recording, CUTS, () => random.between(0, 2 ** 32) / 2 ** 32)
  } catch (cause) {
    throw new Error(`with seed ${seed}`, { cause })
  }
}
