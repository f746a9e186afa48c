/**
 * The memory that transfers take at most: `npm run bench:memory`.
 *
 * Each case has a fresh server, started as `npm start` starts it, and is the greatest resident size
 * (VmHWM) of that process when all answers are there. Downloads are of what the uploads before them
 * left. The folder for temporary files needs room for the largest case, 6.4 GB.
 *
 * usage: npm run bench:memory -- [--rounds 3] [--mib 1024] [--at-once 64] [--each-mib 100] [--json] [--write]
 */
import { rm } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { parseArgs } from 'node:util'
import { type CompanyPlace, startCompanyPlace } from '../e2e/company-place.ts'
import { startServerProcess } from '../e2e/processes.ts'
import { partOf } from '../faults/page.ts'
import { folderPaths } from '../packages/server/src/store/folder.ts'
import type { Scope } from '../packages/server/test/helpers/cleanup.ts'
import { filesPath } from '../packages/server/test/helpers/companies.ts'
import { machineNow, markdownTable, median, verdict } from './figures.ts'
import { inScope } from './scope.ts'
import type { Job } from './transfers/client.ts'
import { peakMemory } from './transfers/processes.ts'
import { ask } from './transfers/run-client.ts'

const MIB = 1024 * 1024
const MOST_FOR_ONE = 160
const MOST_FOR_MANY = 280
const PAGE = new URL('../docs/performance.md', import.meta.url)

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    mib: { type: 'string', default: '1024' },
    'at-once': { type: 'string', default: '64' },
    'each-mib': { type: 'string', default: '100' },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})

/** MiB of one round, by case. */
type Peaks = Readonly<Record<string, number>>

/** Files that go in, and out, at once. */
interface Transfer {
  readonly title: string
  readonly files: number
  readonly size: number
}

const machine = machineNow()
const one: Transfer = {
  title: `of ${values.mib} MiB`,
  files: 1,
  size: Number(values.mib) * MIB,
}
const many: Transfer = {
  title: `${values['at-once']} at once, of ${values['each-mib']} MiB`,
  files: Number(values['at-once']),
  size: Number(values['each-mib']) * MIB,
}
const rounds: Peaks[] = []
for (let round = 0; round < Number(values.rounds); round += 1) {
  rounds.push({ ...(await measure(one)), ...(await measure(many)) })
}
const result = { ...machine, rounds }
process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${report()}\n`)
if (values.write) await partOf(PAGE, 'memory').write(report())

/** A server that starts, one that takes files, and one that hands them out, on a folder of their own. */
function measure({ title, files, size }: Transfer): Promise<Peaks> {
  return inScope(async (scope) => {
    // The first start of all takes more memory than those that find their code in the cache.
    const place = await startCompanyPlace(scope, { HOLDFAST_LOG_LEVEL: 'warn' })
    await place.server.stop()
    const idle = await peakWhile(scope, place, async () => undefined)
    const up = await peakWhile(scope, place, (port) => upload(place, port, files, size))
    const down = await peakWhile(scope, place, (port) => download(place, port, files))
    await rm(place.data, { recursive: true })
    return { 'after its start': idle, [`upload ${title}`]: up, [`download ${title}`]: down }
  })
}

async function peakWhile(
  scope: Scope,
  { settings }: CompanyPlace,
  work: (port: number) => Promise<unknown>,
): Promise<number> {
  const server = await startServerProcess(scope, settings)
  await work(Number(new URL(server.address).port))
  const peak = peakMemory([server.pid])
  await server.stop()
  return peak
}

async function upload(
  place: CompanyPlace,
  port: number,
  files: number,
  size: number,
): Promise<void> {
  const job = { method: 'POST', paths: [filesPath(place.company)], part: 'file', size }
  await askAtOnce(place, port, files, job)
}

async function download(place: CompanyPlace, port: number, files: number): Promise<void> {
  const paths = fileIds(place).map((id) => filesPath(place.company, id, '/download'))
  await askAtOnce(place, port, files, { method: 'GET', paths, size: 0 })
}

async function askAtOnce(
  { headers }: CompanyPlace,
  port: number,
  files: number,
  job: Pick<Job, 'method' | 'paths' | 'part' | 'size'>,
): Promise<void> {
  await ask({ ...job, port, headers, requests: files, connections: files, first: 0 })
}

function fileIds({ data }: CompanyPlace): string[] {
  const database = new DatabaseSync(folderPaths(data).database, { readOnly: true })
  const rows = database.prepare('select id from company_file').all()
  database.close()
  return rows.map(({ id }) => String(id))
}

function report(): string {
  const lines = Object.keys(rounds[0] ?? {}).map((title) => {
    const peaks = rounds.map((peaks) => peaks[title] ?? Number.NaN)
    const most = limitOf(title)
    const spread = `${Math.min(...peaks).toFixed(0)}–${Math.max(...peaks).toFixed(0)}`
    return [
      title,
      `${median(peaks).toFixed(0)} (${spread})`,
      most === undefined ? '' : `≤ ${most}: ${verdict(median(peaks) <= most)}`,
    ]
  })
  const head = `Node ${machine.node}, load before ${machine.load.toFixed(2)}; medians of ${rounds.length} rounds (lowest–highest).`
  return `${head}\n\n${markdownTable([['', 'peak, MiB', 'aim'], ...lines])}`
}

function limitOf(title: string): number | undefined {
  if (title.endsWith(many.title)) return MOST_FOR_MANY
  return title.endsWith(one.title) ? MOST_FOR_ONE : undefined
}
