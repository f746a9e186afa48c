import { randomUUID } from 'node:crypto'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { holdfast } from '../../e2e/processes.ts'
import { partName } from '../../packages/server/src/core/blobs/names.ts'
import { TRASH_FOLDER } from '../../packages/server/src/core/blobs/store.ts'
import { openForServer } from '../../packages/server/src/open.ts'
import { median } from '../figures.ts'
import type { Place } from './place.ts'

/** Of a store that is small the start of a process is most of what a command takes: several are needed. */
const FEW = 10_000
const RUNS_OF_FEW = 7
/** Objects that one sweep moves, at most. */
const MOST_SWEPT = 10_000
const TWO_MONTHS_MS = 62 * 24 * 3600 * 1000

/** Milliseconds that commands took, each a process of its own. */
export interface Commands {
  /** `fsck`, beyond what it takes on an empty store. */
  readonly fsckMs: number
  /** `gc` with nothing to do. */
  readonly gcMs: number
  /** What each object without a row added to that. */
  readonly sweepMsPerFile: number
  /** Of each record that had been in the trash for a month. */
  readonly purgeMsPerFile: number
}

/**
 * Runs the commands on a store that no server uses.
 *
 * @param files in the store
 * @param empty the same of the store when it was empty, which says what the start of a process takes
 */
export async function runCommands(
  place: Place,
  files: number,
  empty?: Commands,
): Promise<Commands> {
  const runs = files <= FEW ? RUNS_OF_FEW : 1
  const fsckMs = await medianOf(runs, () => timed(place, 'fsck'))
  const gcMs = await medianOf(RUNS_OF_FEW, () => timed(place, 'gc'))
  return {
    fsckMs: fsckMs - (empty?.fsckMs ?? 0),
    gcMs,
    sweepMsPerFile: files > 0 ? await sweep(place, Math.min(files, MOST_SWEPT), gcMs) : 0,
    purgeMsPerFile: files > 0 ? await purge(place) : 0,
  }
}

async function medianOf(runs: number, measure: () => Promise<number>): Promise<number> {
  const times: number[] = []
  while (times.length < runs) times.push(await measure())
  return median(times)
}

/** Milliseconds of one that finds nothing wrong. */
async function timed({ settings }: Place, ...words: string[]): Promise<number> {
  const began = performance.now()
  const { code, stdout, stderr } = await holdfast(settings, ...words, '--json')
  if (code !== 0) throw new Error(`${words.join(' ')}: ${stdout}${stderr}`)
  return performance.now() - began
}

/** Objects as a crash leaves them between their last byte and their transaction. */
async function sweep(place: Place, count: number, nothingMs: number): Promise<number> {
  const { data } = place.config
  for (let number = 0; number < count; number += 1) {
    const file = join(data, partName(randomUUID(), 1))
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, 'left behind')
  }
  const milliseconds = await timed(place, 'gc', '--force')
  // Not removed: a file system that has just removed thousands of files makes new ones slowly.
  await rename(join(data, TRASH_FOLDER), join(data, `../swept-${count}-${randomUUID()}`))
  return (milliseconds - nothingMs) / count
}

/** What a server does with the records of deleted files a month later. */
async function purge({ config }: Place): Promise<number> {
  const { core, close } = await openForServer(
    config,
    () => Date.now() + TWO_MONTHS_MS,
    (error) => {
      throw error
    },
  )
  try {
    const began = performance.now()
    const purged = await core.accountFiles.purge()
    return (performance.now() - began) / purged
  } finally {
    await close()
  }
}
