import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

type Step = () => unknown

/** What ends one day, and cleans up then: a test, or a row of the fault matrix. */
export interface Scope {
  after(work: Step): void
}

const stepsOf = new WeakMap<Scope, Step[]>()

/**
 * Runs `step` when the test ends, the last one first: what was opened in a folder is closed before
 * the folder goes. (`t.after` runs the first one first.)
 */
export function atEnd(t: Scope, step: Step): void {
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
export async function testFolder(t: Scope): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
  atEnd(t, () => rm(folder, { recursive: true, force: true }))
  return folder
}
