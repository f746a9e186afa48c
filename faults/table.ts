import { partOf } from './page.ts'
import type { Row } from './row.ts'

/** What became of a row. */
export interface Result extends Pick<Row, 'step' | 'fault'> {
  /** How many times the fault was caused. */
  readonly times: number
  readonly outcome: 'held' | 'BROKEN' | 'skipped'
  readonly seconds: number
  /** Why it is not held, or was skipped. */
  readonly error?: unknown
}

const page = partOf(new URL('../docs/reliability.md', import.meta.url), 'faults')
const HEAD = ['| step | fault | times | result |', '|---|---|---|---|']

/** The matrix as a table of Markdown. */
export function table(results: readonly Result[]): string {
  return [...HEAD, ...results.map(lineOf)].join('\n')
}

/**
 * Renews the table of the page.
 *
 * @param rows all there are; those that have no result keep what the page says of them
 */
export async function writeTable(rows: readonly Row[], results: readonly Result[]): Promise<void> {
  const known = new Map(linesOf(await page.read()).map((line) => [nameOf(line), line]))
  for (const result of results) known.set(nameOf(lineOf(result)), lineOf(result))
  const lines = rows.map(({ step, fault }) => {
    const name = `${step} | ${fault}`
    return known.get(name) ?? `| ${name} | | |`
  })
  await page.write([...HEAD, ...lines].join('\n'))
}

/** The names of the rows that the page has, as `step | fault`. */
export async function rowsOfPage(): Promise<string[]> {
  return linesOf(await page.read()).map(nameOf)
}

function lineOf({ step, fault, times, outcome }: Result): string {
  return `| ${step} | ${fault} | ${times} | ${outcome} |`
}

function linesOf(table: string): string[] {
  return table
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(1)
}

function nameOf(line: string): string {
  return line.slice(2).split(' | ').slice(0, 2).join(' | ')
}
