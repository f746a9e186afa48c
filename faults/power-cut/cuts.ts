import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createDisk, type Disk, type Keeps } from './disk.ts'
import { configOf, type Mark, paths, type State, start, stateOf } from './place.ts'
import type { Recording } from './record.ts'

/** Where the power is cut: what the disk holds, and what each file may be. */
interface Moment {
  readonly disk: Disk
  readonly allowed: ReadonlyMap<string, ReadonlySet<State>>
}

/**
 * Cuts the power right after each of the first `most` answers; the disk has lost whatever was not
 * synced. Answers how many cuts there were.
 *
 * @throws Error that names the moment and the file when something acknowledged is not there
 */
export async function cutAfterAnswers(
  recording: Recording,
  most = Number.POSITIVE_INFINITY,
): Promise<number> {
  let cuts = 0
  await play(recording, async (moment, call) => {
    if (!call.mark?.acknowledged || cuts >= most) return
    cuts += 1
    await check(recording, moment, `after answer ${call.mark.step}`, () => false)
  })
  return cuts
}

/**
 * Cuts the power at `cuts` other moments, also within operations; of what was not synced the disk has
 * kept a random half.
 *
 * @throws Error as `cutAfterAnswers`
 */
export async function cutAnywhere(
  recording: Recording,
  cuts: number,
  random: () => number,
): Promise<number> {
  const moments = new Set<number>()
  const most = recording.calls.length
  while (moments.size < Math.min(cuts, most)) moments.add(Math.floor(random() * most))
  await play(recording, async (moment, _, index) => {
    if (!moments.has(index)) return
    await check(recording, moment, `after call ${index}`, () => random() < 0.5)
  })
  return moments.size
}

async function play(
  recording: Recording,
  at: (moment: Moment, call: Recording['calls'][number], index: number) => Promise<void>,
): Promise<void> {
  const disk = createDisk(paths(recording.base).disk)
  const allowed = new Map<string, Set<State>>()
  for (const [index, call] of recording.calls.entries()) {
    if (call.mark) note(allowed, call.mark)
    else disk.apply(call)
    await at({ disk, allowed }, call, index)
  }
}

/** What was begun may have happened or not; what was acknowledged has. */
function note(allowed: Map<string, Set<State>>, { acknowledged, changes }: Mark): void {
  for (const [file, state] of changes) {
    if (acknowledged) allowed.set(file, new Set([state]))
    else allowed.get(file)?.add(state)
  }
}

/** Starts a server on what the disk kept, and asks for every file. */
async function check(
  { base, people, rootKeyFile }: Recording,
  { disk, allowed }: Moment,
  name: string,
  keeps: Keeps,
): Promise<void> {
  const target = join(base, 'kept')
  await mkdir(target)
  await disk.cut(target, keeps)
  try {
    const server = await start(configOf(target, rootKeyFile))
    try {
      for (const [file, states] of allowed) {
        const state = await stateOf(server, people, file)
        if (!states.has(state)) throw new Error(`${file} is ${state}, not ${[...states]}`)
      }
    } finally {
      await server.close()
    }
  } catch (error) {
    throw new Error(`the power was cut ${name}; what the disk kept: ${target}`, { cause: error })
  }
  await rm(target, { recursive: true })
}
