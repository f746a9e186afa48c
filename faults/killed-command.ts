import assert from 'node:assert/strict'
import { join } from 'node:path'
import { COMMAND, type Ended, oneObject, run, type Settings } from '../e2e/processes.ts'
import { EXIT_FINDINGS } from '../packages/server/src/cli/run.ts'
import type { Failpoint } from '../packages/server/src/core/failpoints.ts'
import { testFolder } from '../packages/server/test/helpers/cleanup.ts'
import type { Fault } from './arm.ts'
import { killAtEachStep } from './each-step.ts'
import type { Stored } from './operations.ts'
import { ARM, copyData, type PlaceHere, settingsOf, startArmed } from './place.ts'
import type { RowScope } from './row.ts'
import { assertSound } from './sound.ts'

const MOST_HITS = 2

/** A command that changes what is stored. Its functions are told the data folder that it works on. */
export interface StoreCommand {
  readonly words: (data: string) => readonly string[]
  readonly steps: readonly Failpoint[]
  /** Milliseconds by which its clock is ahead. */
  readonly clock?: number
  /** Whether it may end with findings. */
  readonly mayFind?: boolean
  /** Settings of its own. */
  readonly settings?: (data: string) => Settings
  /** What holds after a kill, before it runs again. */
  readonly assertKilled?: (data: string, step: Failpoint) => Promise<void>
  /** Settings of a server once it is done, where they are not what they were. */
  readonly after?: (data: string) => Settings
}

/**
 * Kills a command at each of its steps, every time on another copy of the same folder, and runs it
 * again: a server has every file then.
 *
 * @param place whose server has ended
 * @param files that are to stay
 * @returns how many times it was killed
 */
export function killCommand(
  t: RowScope,
  command: StoreCommand,
  place: PlaceHere,
  files: readonly Stored[],
): Promise<number> {
  return killAtEachStep(command.steps, MOST_HITS, async (kill) => {
    const data = join(await testFolder(t), 'data')
    await copyData(place.data, data)
    const ended = await runCommand(command, data, kill)
    if (ended.code !== null) {
      assertDone(command, ended)
      return false
    }
    assert.equal(ended.stderr, '')
    await command.assertKilled?.(data, kill.step)
    assertDone(command, await runCommand(command, data, null))
    await assertServed(t, { ...settingsOf(data), ...command.after?.(data) }, place, files)
    return true
  })
}

function runCommand(command: StoreCommand, data: string, kill: Fault | null): Promise<Ended> {
  const { words, clock = 0, settings } = command
  return run(process.execPath, ['--import', ARM, COMMAND, ...words(data), '--json'], {
    ...settingsOf(data),
    ...settings?.(data),
    FAULTS_ORDER: JSON.stringify({ kill, clock }),
  })
}

function assertDone({ mayFind = false }: StoreCommand, { code, stdout, stderr }: Ended): void {
  assert.ok(code === 0 || (mayFind && code === EXIT_FINDINGS), `${code}: ${stderr}`)
  assert.equal(stderr, '')
  oneObject(stdout)
}

async function assertServed(
  t: RowScope,
  settings: Settings,
  place: PlaceHere,
  files: readonly Stored[],
): Promise<void> {
  const server = await startArmed(t, settings, {})
  await server.logged('swept')
  for (const file of files) await file.check({ ...place, server })
  await server.stop()
  await assertSound(String(settings.HOLDFAST_DATA), settings)
}
