import { startServerProcess } from '../../e2e/processes.ts'
import type { Scope } from '../../packages/server/test/helpers/cleanup.ts'
import { median } from '../figures.ts'
import type { Job } from '../transfers/client.ts'
import { peakMemory } from '../transfers/processes.ts'
import { ask } from '../transfers/run-client.ts'
import type { Place } from './place.ts'

const STARTS = 5
/** Requests of a round: those that write, and those that read. */
const WRITES = 100
const READS = 300
const UPLOAD_BYTES = 10 * 1024

export type Operation = 'upload' | 'metadata' | 'page' | 'keyword' | 'download' | 'delete'

/** Milliseconds. */
export interface Times {
  readonly p50: number
  readonly p99: number
}

/** What was seen of a server. */
export interface Served {
  /** Medians over the rounds. */
  readonly times: Readonly<Record<Operation, Times>>
  /** Milliseconds from the start of the process until it was ready, the median of several. */
  readonly startMs: number
  /** MiB of the server that answered all of it. */
  readonly peak: number
}

/** Starts a server several times, and asks the last one. */
export async function measureServer(scope: Scope, place: Place, rounds: number): Promise<Served> {
  const starts: number[] = []
  for (;;) {
    const began = performance.now()
    const server = await startServerProcess(scope, place.settings)
    starts.push(performance.now() - began)
    if (starts.length < STARTS) {
      await server.stop()
      continue
    }
    const times = await measureOperations(place, Number(new URL(server.address).port), rounds)
    const peak = peakMemory([server.pid])
    await server.stop()
    return { times, startMs: median(starts), peak }
  }
}

/** All operations in turn, round after round; the first round is forgotten. */
async function measureOperations(
  place: Place,
  port: number,
  rounds: number,
): Promise<Served['times']> {
  const measured: Record<Operation, Times[]> = {
    ...{ upload: [], metadata: [], page: [], keyword: [], download: [], delete: [] },
  }
  for (let round = 0; round <= rounds; round += 1) {
    for (const [operation, job] of Object.entries(jobs(place)) as [Operation, Partial<Job>][]) {
      const { p50, p99 } = await ask({
        ...{ port, method: 'GET', paths: [], size: 0, requests: READS, connections: 1, first: 0 },
        headers: { authorization: `Bearer ${place.account.token}` },
        ...job,
      })
      if (round > 0) measured[operation].push({ p50, p99 })
    }
  }
  const entries = Object.entries(measured).map(([operation, times]) => [
    operation,
    { p50: median(times.map(({ p50 }) => p50)), p99: median(times.map(({ p99 }) => p99)) },
  ])
  return Object.fromEntries(entries)
}

/** As many files are deleted as are uploaded. */
function jobs(place: Place): Record<Operation, Partial<Job>> {
  const files = '/api/files'
  const some = (count: number, rest = '') =>
    place.sample(count).map((id) => `${files}/${id}${rest}`)
  return {
    upload: {
      ...{ method: 'POST', paths: [files], part: 'file', size: UPLOAD_BYTES, requests: WRITES },
    },
    metadata: { paths: some(READS) },
    page: { paths: [`${files}?per_page=100`] },
    keyword: { paths: [`${files}?per_page=100&keyword=zebrafish`] },
    download: { paths: some(READS, '/download') },
    delete: { method: 'DELETE', paths: some(WRITES), requests: WRITES },
  }
}
