/**
 * What small requests feel while large files go in: `npm run bench:latency`.
 *
 * One client with one connection asks for metadata and for a file of 10 KiB, on an idle server and while
 * 16 uploads of 64 MiB, from a client in another process, run without end; in turn, round after round.
 * Server and clients share the cores: a Node server beside that does nothing but answer is asked as
 * well, and what it feels is the machine's share. What uploads left is removed and synced between
 * rounds, outside the time.
 *
 * usage: npm run bench:latency -- [--rounds 5] [--requests 3000] [--json] [--write]
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { address, type CompanyPlace, startCompanyPlace } from '../e2e/company-place.ts'
import { partOf } from '../faults/page.ts'
import type { Scope } from '../packages/server/test/helpers/cleanup.ts'
import { fileForm, filesPath, type Resource } from '../packages/server/test/helpers/companies.ts'
import { machineNow, markdownTable, median, verdict } from './figures.ts'
import { inScope } from './scope.ts'
import type { Job } from './transfers/client.ts'
import { startProgram } from './transfers/contestant.ts'
import { removeUploads } from './transfers/contestants/nginx.ts'
import { ask, keepAsking } from './transfers/run-client.ts'

const MIB = 1024 * 1024
const UPLOADS = 16
const UPLOAD_BYTES = 64 * MIB
const DOWNLOAD_BYTES = 10 * 1024
const MOST_RATIO = 5
const METRICS_TOKEN = randomBytes(16).toString('hex')
const TINY_SERVER = fileURLToPath(new URL('./tiny-server.ts', import.meta.url))
const TINY_PORT = 8509
/** Until all uploads are under way. */
const WARM_UP_MS = 1000
const PAGE = new URL('../docs/performance.md', import.meta.url)

const ASKED = ['metadata', 'download of 10 KiB', 'a tiny server beside'] as const
type Asked = (typeof ASKED)[number]

/** Milliseconds. */
interface Times {
  readonly p50: number
  readonly p99: number
}

/** What one phase of a round measured. */
interface Phase {
  readonly times: Readonly<Record<Asked, Times>>
  /** Milliseconds that timers of the server's event loop were late, the 99th percentile. */
  readonly loopP99: number
  /** MB a second that the server wrote. */
  readonly rate: number
}

interface Result {
  readonly node: string
  readonly load: number
  readonly rounds: number
  readonly requests: number
  readonly idle: readonly Phase[]
  readonly busy: readonly Phase[]
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    requests: { type: 'string', default: '3000' },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})

const result = await inScope(measure)
process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${report(result)}\n`)
if (values.write) await partOf(PAGE, 'latency').write(report(result))

async function measure(scope: Scope): Promise<Result> {
  const machine = machineNow()
  const [rounds, requests] = [Number(values.rounds), Number(values.requests)]
  const place = await startCompanyPlace(scope, {
    HOLDFAST_LOG_LEVEL: 'warn',
    HOLDFAST_METRICS_TOKEN: METRICS_TOKEN,
    HOLDFAST_PREVIEW_MAX_MB: '0',
  })
  const tiny = await startProgram(TINY_PORT, process.execPath, [TINY_SERVER, String(TINY_PORT)])
  scope.after(tiny.stop)
  const fileId = await uploadSmall(place)
  const idle: Phase[] = []
  const busy: Phase[] = []
  for (let round = 0; round <= rounds; round += 1) {
    const quiet = await phase(place, fileId, requests)
    const loaded = await whileUploading(place, () => phase(place, fileId, requests))
    if (round === 0) continue
    idle.push(quiet)
    busy.push(loaded)
    process.stderr.write(`round ${round} of ${rounds}\r`)
  }
  process.stderr.write('\n')
  await place.server.stop()
  return { ...machine, rounds, requests, idle, busy }
}

async function uploadSmall(place: CompanyPlace): Promise<string> {
  const answer = await fetch(address(place), {
    ...{ method: 'POST', headers: place.headers, body: fileForm(randomBytes(DOWNLOAD_BYTES)) },
  })
  const { resource } = (await answer.json()) as { resource: Resource }
  return resource.id
}

/** Asks for everything once in a row. */
async function phase(place: CompanyPlace, fileId: string, requests: number): Promise<Phase> {
  const began = performance.now()
  const before = bytesWritten(place)
  await loopDelay(place)
  const times = {
    metadata: await timesOf(place, filesPath(place.company, fileId), requests),
    'download of 10 KiB': await timesOf(
      place,
      filesPath(place.company, fileId, '/download'),
      requests,
    ),
    'a tiny server beside': await timesOf(place, '/', requests, TINY_PORT),
  }
  const seconds = (performance.now() - began) / 1000
  const rate = (bytesWritten(place) - before) / 1e6 / seconds
  return { times, loopP99: await loopDelay(place), rate }
}

async function timesOf(
  place: CompanyPlace,
  path: string,
  requests: number,
  port = portOf(place),
): Promise<Times> {
  const job = { ...jobOf(place, port), method: 'GET', paths: [path], requests }
  const { p50, p99 } = await ask(job)
  return { p50, p99 }
}

function portOf({ server }: CompanyPlace): number {
  return Number(new URL(server.address).port)
}

function jobOf(
  { headers }: CompanyPlace,
  port: number,
): Omit<Job, 'method' | 'paths' | 'requests'> {
  return { port, headers, size: 0, connections: 1, first: 0 }
}

async function whileUploading<T>(place: CompanyPlace, work: () => Promise<T>): Promise<T> {
  const uploads = keepAsking({
    ...jobOf(place, portOf(place)),
    ...{ method: 'POST', paths: [filesPath(place.company)], part: 'file' },
    ...{ size: UPLOAD_BYTES, connections: UPLOADS },
  })
  try {
    await delay(WARM_UP_MS)
    return await work()
  } finally {
    await uploads.stop()
    await removeUploads(join(place.data, 'blobs'))
    execFileSync('sync')
  }
}

/** Bytes that the server has ever written to files. */
function bytesWritten({ server }: CompanyPlace): number {
  const counters = readFileSync(`/proc/${server.pid}/io`, 'utf8')
  return Number(/^write_bytes: (\d+)$/m.exec(counters)?.[1])
}

/** Milliseconds, the 99th percentile since it was last asked for. */
async function loopDelay({ server }: CompanyPlace): Promise<number> {
  const answer = await fetch(`${server.address}/metrics`, {
    headers: { authorization: `Bearer ${METRICS_TOKEN}` },
  })
  const seconds = /^nodejs_eventloop_lag_p99_seconds (\S+)$/m.exec(await answer.text())?.[1]
  return Number(seconds) * 1000
}

function report({ node, load, rounds, requests, idle, busy }: Result): string {
  const lines = ASKED.map((asked) => {
    const [before, during] = [idle, busy].map((phases) => ({
      p50: median(phases.map(({ times }) => times[asked].p50)),
      p99: median(phases.map(({ times }) => times[asked].p99)),
    })) as [Times, Times]
    const ratio = during.p99 / before.p99
    const isAim = asked !== 'a tiny server beside'
    return [
      asked,
      ...[before.p50, before.p99, during.p50, during.p99].map((ms) => ms.toFixed(2)),
      ratio.toFixed(1),
      isAim ? `≤ ${MOST_RATIO} ×: ${verdict(ratio <= MOST_RATIO)}` : '',
    ]
  })
  const loop = [idle, busy].map((phases) => median(phases.map(({ loopP99 }) => loopP99)).toFixed(1))
  const rate = median(busy.map((phase) => phase.rate)).toFixed(0)
  return [
    `Node ${node}, load before ${load.toFixed(2)}; medians of ${rounds} rounds of ${requests} requests.\n`,
    markdownTable([
      ['ms', 'idle p50', 'idle p99', 'busy p50', 'busy p99', 'p99, busy to idle', 'aim'],
      ...lines,
    ]),
    `\nTimers of the server's event loop were late by ${loop[0]} ms idle and ${loop[1]} ms busy (p99; they run every 10 ms). Meanwhile ${rate} MB/s went in.`,
  ].join('\n')
}
