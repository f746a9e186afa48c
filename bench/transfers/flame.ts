/**
 * Where the processor's time goes: runs cases against Holdfast alone, samples all its threads and the
 * kernel's work for them with Linux's `perf`, which needs the right to, and draws a flame graph of
 * each into `docs/flames/`.
 *
 * usage: npm run bench:flame -- --cells up-1m,down-1m [--rounds 5]
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { CELLS, type Cell, CLEANED_FROM } from './cells.ts'
import { type Contestant, jobOf, requestFor } from './contestant.ts'
import { holdfastWith } from './contestants/holdfast.ts'
import { drawFlame } from './flame-graph.ts'
import { ask } from './run-client.ts'
import { stacksOf } from './stacks.ts'

const FOLDER = new URL('../../docs/flames/', import.meta.url)
/** Samples a second. Not a round number, which might keep step with a timer. */
const RATE = 997
/** Until `perf` has found all threads. */
const ATTACH_MS = 500
const LONGEST_OUTPUT = 2 ** 30
/** Tells `perf` the names of functions; what took the place of other code may have that one's name. */
const NAMES = [
  ...['--perf-basic-prof', '--interpreted-frames-native-stack', '--no-flush-bytecode'],
  // Otherwise V8 writes a log of its own beside.
  ...['--no-logfile-per-isolate', '--logfile=/dev/null'],
]

const { values } = parseArgs({
  options: { cells: { type: 'string' }, rounds: { type: 'string', default: '5' } },
})
const base = await mkdtemp(join(tmpdir(), 'holdfast-flame-'))
const contestant = await holdfastWith(NAMES).start(join(base, 'holdfast'))
try {
  await mkdir(FOLDER, { recursive: true })
  let first = 0
  for (const cell of CELLS.filter(({ id }) => values.cells?.split(',').includes(id))) {
    const samples = join(base, cell.id)
    first = await sample(cell, contestant, samples, first)
    const words = ['script', '-i', samples, '--no-inline', '-F', 'comm,ip,sym']
    const output = execFileSync('perf', words, { encoding: 'utf8', maxBuffer: LONGEST_OUTPUT })
    await writeFile(new URL(`${cell.id}.svg`, FOLDER), drawFlame(cell.title, stacksOf(output)))
  }
} finally {
  await contestant.stop()
  await rm(base, { recursive: true })
  for (const pid of contestant.pids) await rm(join(tmpdir(), `perf-${pid}.map`), { force: true })
}

/** Samples a case after a first time that is not looked at; answers the number of the next upload. */
async function sample(
  cell: Cell,
  contestant: Contestant,
  file: string,
  first: number,
): Promise<number> {
  const request = await requestFor(cell, contestant)
  if (!request) throw new Error(`${cell.id} cannot be asked`)
  let next = first
  const run = async (): Promise<void> => {
    await ask(jobOf(cell, contestant, request, next))
    next += cell.requests
    if (cell.kind === 'upload' && cell.size >= CLEANED_FROM) await contestant.clean()
  }
  await run()
  const words = ['record', '--quiet', '--call-graph', 'fp', '-F', String(RATE), '-o', file]
  const perf = spawn('perf', [...words, '-p', contestant.pids.join(',')], { stdio: 'inherit' })
  await delay(ATTACH_MS)
  for (let round = 0; round < Number(values.rounds); round += 1) await run()
  perf.kill('SIGINT')
  await once(perf, 'exit')
  return next
}
