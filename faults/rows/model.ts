import assert from 'node:assert/strict'
import { run } from '../../e2e/processes.ts'
import type { Row } from '../row.ts'

const TEST = 'packages/server/test/core/blobs-crashes.model.test.ts'
const RUNS = 60

/** More runs of the test that compares stored bytes with a model. */
export const model: readonly Row[] = [
  {
    step: 'stored bytes against a model',
    fault: 'a crash at a random step of random work',
    async run() {
      const { code, stdout } = await run(process.execPath, ['--test', TEST], {
        CRASH_RUNS: `${RUNS}`,
      })
      assert.equal(code, 0, stdout)
      return RUNS
    },
  },
]
