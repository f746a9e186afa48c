/**
 * How fast files go in and out, against servers that people know: `npm run bench`.
 *
 * All contestants run beside each other on fresh folders and are driven in turn by the same client,
 * round after round, so that whatever else the machine does hits them alike; only ratios within one
 * run mean something. Uploads to Holdfast are forms with a token, sealed, durable before the answer;
 * nginx neither seals nor syncs. What is large is removed before the next run, outside the time.
 *
 * usage: npm run bench -- [--cells up-8m,down-8m] [--only 'nginx tuned,Holdfast'] [--rounds 5] [--json] [--write]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { CELLS, type Cell, CLEANED_FROM } from './cells.ts'
import { type Contestant, type Entry, jobOf, type Request, requestFor } from './contestant.ts'
import { holdfast } from './contestants/holdfast.ts'
import { nginx } from './contestants/nginx.ts'
import { plainNode } from './contestants/plain-node.ts'
import { rclone } from './contestants/rclone.ts'
import { tus } from './contestants/tus.ts'
import { cpuSeconds, peakMemory, resetPeak } from './processes.ts'
import { type Figures, report, type Sample, write } from './report.ts'
import { ask } from './run-client.ts'

/** The one that ratios are to stands first. */
const ENTRIES: readonly Entry[] = [
  nginx('nginx tuned', 8501, '1m'),
  nginx('nginx', 8505, '16k'),
  plainNode,
  tus,
  rclone,
  holdfast,
]
/** Until the disk has taken what the last case left. */
const SETTLE_MS = 300

const { values } = parseArgs({
  options: {
    cells: { type: 'string' },
    only: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
const rounds = Number(values.rounds)
const entries = ENTRIES.filter(({ name }) => !values.only || values.only.split(',').includes(name))
const chosen = CELLS.filter(({ id }) => !values.cells || values.cells.split(',').includes(id))

const base = await mkdtemp(join(tmpdir(), 'holdfast-bench-'))
const load = loadavg()[0] ?? 0
const running: { name: string; contestant: Contestant }[] = []
let uploads = 0
try {
  for (const [index, entry] of entries.entries()) {
    const missing = entry.missing()
    if (missing) process.stderr.write(`${entry.name} takes no part: ${missing}\n`)
    else {
      const contestant = await entry.start(join(base, String(index)))
      running.push({ name: entry.name, contestant })
    }
  }
  const figures: Figures[] = []
  for (const cell of chosen) {
    const measured = await measure(cell)
    figures.push(...measured)
    process.stderr.write(`${report({ load, rounds, figures: measured })}\n`)
  }
  const result = { load, rounds, figures }
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : report(result))
  if (values.write) await write(result)
} finally {
  for (const { contestant } of running) await contestant.stop()
  await rm(base, { recursive: true })
}

/** Every contestant in turn, round after round; the first round is forgotten. */
async function measure(cell: Cell): Promise<Figures[]> {
  const prepared: { name: string; contestant: Contestant; request: Request; samples: Sample[] }[] =
    []
  for (const { name, contestant } of running) {
    const request = await requestFor(cell, contestant)
    if (request) prepared.push({ name, contestant, request, samples: [] })
  }
  for (let round = 0; round <= rounds; round += 1) {
    // Each has its turn right behind each other, whose writing the disk may still be busy with.
    const first = round % prepared.length
    for (const { contestant, request, samples } of [
      ...prepared.slice(first),
      ...prepared.slice(0, first),
    ]) {
      const sample = await run(cell, contestant, request)
      if (round > 0) samples.push(sample)
    }
    process.stderr.write(`${cell.title}: round ${round} of ${rounds}\r`)
  }
  process.stderr.write('\n')
  return prepared.map(({ name, samples }) => ({ cell: cell.id, title: cell.title, name, samples }))
}

async function run(cell: Cell, contestant: Contestant, request: Request): Promise<Sample> {
  const { pids } = contestant
  const { size, requests, kind } = cell
  resetPeak(pids)
  const cpu = cpuSeconds(pids)
  const collections = contestant.collections?.() ?? 0
  const measured = await ask(jobOf(cell, contestant, request, uploads))
  const gibibytes = measured.bytes / 2 ** 30
  const sample = {
    rate: measured.bytes / 1e6 / measured.seconds,
    requests: requests / measured.seconds,
    p50: measured.p50,
    p99: measured.p99,
    cpu: (cpuSeconds(pids) - cpu) / gibibytes,
    peak: peakMemory(pids),
    collections: ((contestant.collections?.() ?? 0) - collections) / gibibytes,
  }
  if (kind === 'upload') {
    uploads += requests
    // ext4 makes new files at a tenth of its rate for a minute after thousands were removed.
    if (size >= CLEANED_FROM) await contestant.clean()
  }
  await delay(SETTLE_MS)
  return sample
}
