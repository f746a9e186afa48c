import { partOf } from '../../faults/page.ts'
import { markdownTable, verdict } from '../figures.ts'
import type { Commands } from './commands.ts'
import type { Operation, Served } from './operations.ts'

/** What was measured at one size. */
export interface Figures extends Served, Commands {
  /** That were filled in; uploads and deletions add as many as they take. */
  readonly files: number
}

export interface Result {
  readonly node: string
  /** Processes that wanted to run, on average over the minute before. */
  readonly load: number
  readonly rounds: number
  /** From few files to many. */
  readonly sizes: readonly Figures[]
}

const PAGE = new URL('../../docs/performance.md', import.meta.url)

interface Row {
  readonly title: string
  value(figures: Figures): number
  /** Beside the value. */
  aside?(figures: Figures): string
  readonly digits: number
  readonly aims: readonly Aim[]
}

interface Aim {
  readonly text: string
  isReached(row: Row, sizes: readonly Figures[]): boolean
}

const TWICE = growsAtMost(2)

const ROWS: readonly Row[] = [
  operation('upload', 'upload 10 KiB', TWICE),
  operation('metadata', 'metadata of any file', TWICE, growsAtMost(1.5, 10_000)),
  operation('page', 'page of 100, newest first', TWICE, growsAtMost(1.5, 10_000)),
  operation('keyword', 'keyword with one hit', TWICE, atMost(10, 'ms')),
  operation('download', 'download of any file, 10 KiB', TWICE),
  operation('delete', 'delete any file', TWICE),
  {
    title: 'forget a deleted file, ms',
    value: ({ purgeMsPerFile }) => purgeMsPerFile,
    digits: 3,
    aims: [TWICE],
  },
  {
    title: '`gc`, each file swept, ms',
    value: ({ sweepMsPerFile }) => sweepMsPerFile,
    digits: 3,
    aims: [TWICE],
  },
  { title: '`gc` with nothing to sweep, ms', value: ({ gcMs }) => gcMs, digits: 0, aims: [TWICE] },
  {
    title: '`fsck`, each file, ms',
    value: ({ fsckMs, files }) => fsckMs / files,
    aside: ({ fsckMs, files }) => `${whole((files / fsckMs) * 1000)}/s`,
    digits: 3,
    aims: [TWICE],
  },
  {
    title: 'start until ready, ms',
    value: ({ startMs }) => startMs,
    digits: 0,
    aims: [atMost(1000, 'ms')],
  },
  { title: 'peak memory, MiB', value: ({ peak }) => peak, digits: 0, aims: [] },
]

function operation(name: Operation, title: string, ...aims: Aim[]): Row {
  return {
    title: `${title}, ms`,
    value: ({ times }) => times[name].p50,
    aside: ({ times }) => times[name].p99.toFixed(2),
    digits: 2,
    aims,
  }
}

/** @param from files; the fewest when there is no such size */
function growsAtMost(most: number, from?: number): Aim {
  return {
    text: from === undefined ? `≤ ${most} ×` : `≤ ${most} × that of ${whole(from)}`,
    isReached(row, sizes) {
      const first = sizes.find(({ files }) => files === from) ?? sizes[0]
      return first !== undefined && ratio(row, first, sizes) <= most
    },
  }
}

/** Of the most files. */
function atMost(limit: number, unit: string): Aim {
  return {
    text: `≤ ${whole(limit)} ${unit}`,
    isReached: (row, sizes) => sizes.slice(-1).every((figures) => row.value(figures) <= limit),
  }
}

/** Of the largest to another. */
function ratio(row: Row, first: Figures, sizes: readonly Figures[]): number {
  const last = sizes.at(-1) ?? first
  return row.value(last) / row.value(first)
}

/** One table, with the sizes as columns. */
export function report({ node, load, rounds, sizes }: Result): string {
  const head = `Node ${node}, load before ${load.toFixed(2)}, ${rounds} rounds; p50 (p99) of requests.`
  const first = sizes[0]
  if (!first) return head
  const lines = ROWS.map((row) => [
    row.title,
    ...sizes.map((figures) => cell(row, figures)),
    ratio(row, first, sizes).toFixed(2),
    aimsOf(row, sizes),
  ])
  const columns = sizes.map(({ files }) => `${whole(files)} files`)
  return `${head}\n\n${markdownTable([['', ...columns, 'last to first', 'aim'], ...lines])}`
}

function cell(row: Row, figures: Figures): string {
  const value = row.value(figures).toFixed(row.digits)
  return row.aside ? `${value} (${row.aside(figures)})` : value
}

function aimsOf(row: Row, sizes: readonly Figures[]): string {
  return row.aims.map((aim) => `${aim.text}: ${verdict(aim.isReached(row, sizes))}`).join('; ')
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}

/** Puts the table into `docs/performance.md`. */
export async function write(result: Result): Promise<void> {
  await partOf(PAGE, 'growth').write(report(result))
}
