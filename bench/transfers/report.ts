import { writeFile } from 'node:fs/promises'
import { partOf } from '../../faults/page.ts'
import { median } from '../figures.ts'
import { chart } from './chart.ts'

/** What one run of a case measured. */
export interface Sample {
  /** MB of content a second. */
  readonly rate: number
  /** Requests a second. */
  readonly requests: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** CPU seconds of the server for a GiB. */
  readonly cpu: number
  /** MiB. */
  readonly peak: number
  /** Full garbage collections for a GiB. */
  readonly collections: number
}

/** All rounds of one contestant in one case. */
export interface Figures {
  readonly cell: string
  readonly title: string
  readonly name: string
  readonly samples: readonly Sample[]
}

export interface Result {
  /** Processes that wanted to run, on average over the minute before. */
  readonly load: number
  readonly rounds: number
  readonly figures: readonly Figures[]
}

const DOCS = new URL('../../docs/', import.meta.url)
const PAGE = new URL('performance.md', DOCS)

/** One line of the table. */
export interface Line {
  readonly cell: string
  readonly title: string
  readonly name: string
  readonly rate: number
  readonly low: number
  readonly high: number
  /** To the first contestant, the median over the rounds. */
  readonly ratio: number
  readonly sample: Sample
}

export function lines({ figures }: Result): Line[] {
  return figures.map(({ cell, title, name, samples }) => {
    const yardstick = figures.find((other) => other.cell === cell)?.samples ?? []
    const rates = samples.map(({ rate }) => rate)
    return {
      cell,
      title,
      name,
      rate: median(rates),
      low: Math.min(...rates),
      high: Math.max(...rates),
      ratio: median(rates.map((rate, round) => rate / (yardstick[round]?.rate ?? Number.NaN))),
      sample: medians(samples),
    }
  })
}

/** Tables in Markdown, one for each case. */
export function report(result: Result): string {
  const head = `Load before: ${result.load.toFixed(2)}; median of ${result.rounds} rounds.\n`
  const all = lines(result)
  const cells = [...new Set(all.map(({ cell }) => cell))]
  return [head, ...cells.map((cell) => table(all.filter((line) => line.cell === cell)))].join('\n')
}

function table(rows: readonly Line[]): string {
  const title = rows[0]?.title ?? ''
  return [
    `| ${title} | MB/s | × ${rows[0]?.name} | requests/s | p50, p99 ms | CPU s/GiB | peak MiB | full collections/GiB |`,
    '|---|---|---|---|---|---|---|---|',
    ...rows.map(({ name, rate, low, high, ratio, sample }) =>
      [
        `| ${name}`,
        `${round(rate)} (${round(low)}–${round(high)})`,
        ratio.toFixed(2),
        round(sample.requests),
        `${sample.p50.toFixed(1)}, ${sample.p99.toFixed(1)}`,
        sample.cpu.toFixed(2),
        round(sample.peak),
        `${sample.collections.toFixed(1)} |`,
      ].join(' | '),
    ),
    '',
  ].join('\n')
}

/** Puts tables and chart into `docs/performance.md`, and the figures beside it. */
export async function write(result: Result): Promise<void> {
  const section = `![Throughput as a ratio to nginx](transfers.svg)\n\n${report(result)}`
  await partOf(PAGE, 'transfers').write(section.trimEnd())
  await writeFile(new URL('transfers.json', DOCS), `${JSON.stringify(result, null, 1)}\n`)
  await writeFile(new URL('transfers.svg', DOCS), chart(lines(result)))
}

function medians(samples: readonly Sample[]): Sample {
  const keys = ['rate', 'requests', 'p50', 'p99', 'cpu', 'peak', 'collections'] as const
  const entries = keys.map((key) => [key, median(samples.map((sample) => sample[key]))])
  return Object.fromEntries(entries)
}

function round(value: number): string {
  return Math.round(value).toLocaleString('en')
}
