import { readFile, writeFile } from 'node:fs/promises'
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

export const PAGE = new URL('../docs/reliability.md', import.meta.url)
const BEGIN = '<!-- faults -->'
const END = '<!-- /faults -->'

/** The matrix as a table of Markdown. */
export function table(results: readonly Result[]): string {
  const lines = results.map(
    ({ step, fault, times, outcome }) => `| ${step} | ${fault} | ${times} | ${outcome} |`,
  )
  return ['| step | fault | times | result |', '|---|---|---|---|', ...lines].join('\n')
}

/** Puts the table between the marks of the page. */
export async function writeTable(results: readonly Result[]): Promise<void> {
  const { before, after } = splitPage(await readFile(PAGE, 'utf8'))
  await writeFile(PAGE, `${before}${BEGIN}\n\n${table(results)}\n\n${END}${after}`)
}

/** The names of the rows that the page has, as `step | fault`. */
export async function rowsOfPage(): Promise<string[]> {
  const { between } = splitPage(await readFile(PAGE, 'utf8'))
  const lines = between.split('\n').filter((line) => line.startsWith('| '))
  return lines.slice(1).map((line) => line.split(' | ').slice(0, 2).join(' | ').slice(2))
}

function splitPage(text: string): { before: string; between: string; after: string } {
  const [before, rest] = text.split(BEGIN)
  const [between, after] = rest?.split(END) ?? []
  if (before === undefined || between === undefined || after === undefined) {
    throw new Error(`${PAGE.pathname} has no place for the table`)
  }
  return { before, between, after }
}
