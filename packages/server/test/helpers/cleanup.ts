import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

type Step = () => unknown

const stepsOf = new WeakMap<TestContext, Step[]>()

/**
 * Runs `step` when the test ends, the last one first: what was opened in a folder is closed before
 * the folder goes. (`t.after` runs the first one first.)
 */
export function atEnd(t: TestContext, step: Step): void {
  const known = stepsOf.get(t)
  if (known) {
    known.push(step)
    return
  }
  const steps = [step]
  stepsOf.set(t, steps)
  t.after(async () => {
    for (const each of steps.reverse()) await each()
  })
}

/** A folder of its own that goes with the test, after everything that was opened later is closed. */
export async function testFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
  atEnd(t, () => rm(folder, { recursive: true, force: true }))
  return folder
}
