/**
 * The fault matrix: `npm run faults [-- words…] [--json] [--write]`. Words choose the rows whose name
 * has all of them. Ends with 1 when a promise is not kept. `--write` keeps the table in
 * `docs/reliability.md`.
 */
import { parseArgs } from 'node:util'
import { removeTemplate } from './place.ts'
import type { Row } from './row.ts'
import { ROWS } from './rows/index.ts'
import { type Result, table, writeTable } from './table.ts'

/** Rows that run beside each other, besides those that wait. */
const LANES = 2

const { values, positionals } = parseArgs({
  options: { json: { type: 'boolean' }, write: { type: 'boolean' } },
  allowPositionals: true,
})
const chosen = ROWS.filter(({ step, fault }) =>
  positionals.every((word) => `${step} ${fault}`.includes(word)),
)
const results = await runAll(chosen)
await removeTemplate()
const failed = results.filter(({ outcome }) => outcome === 'BROKEN')

if (values.json) process.stdout.write(`${JSON.stringify({ rows: results })}\n`)
else process.stdout.write(`${table(results)}\n`)
for (const { step, fault, error } of failed) console.error(`\n${step} | ${fault}\n`, error)
if (values.write) await writeTable(ROWS, results)
process.exit(failed.length > 0 || chosen.length === 0 ? 1 : 0)

async function runAll(rows: readonly Row[]): Promise<Result[]> {
  const done: Result[] = []
  async function runOne([index, row]: [number, Row]): Promise<void> {
    done[index] = await runRow(row)
    console.error(`${done[index].outcome} ${row.step} | ${row.fault} (${done[index].seconds} s)`)
  }
  const { waiting = [], working = [] } = Object.groupBy(rows.entries(), ([, row]) =>
    row.waits ? 'waiting' : 'working',
  )
  async function lane(): Promise<void> {
    for (let next = working.shift(); next; next = working.shift()) await runOne(next)
  }
  await Promise.all([...waiting.map(runOne), ...Array.from({ length: LANES }, lane)])
  return done
}

async function runRow(row: Row): Promise<Result> {
  const ends: (() => unknown)[] = []
  const { step, fault } = row
  const begun = performance.now()
  const seconds = () => Math.round((performance.now() - begun) / 100) / 10
  let skipped: string | undefined
  try {
    const times = await row.run({
      after: (work) => ends.push(work),
      skip: (reason) => {
        skipped = reason
      },
    })
    if (!skipped) return { step, fault, times, outcome: 'held', seconds: seconds() }
    if (process.env.CI === 'true') throw new Error(skipped)
    return { step, fault, times: 0, outcome: 'skipped', seconds: seconds(), error: skipped }
  } catch (error) {
    return { step, fault, times: 0, outcome: 'BROKEN', seconds: seconds(), error }
  } finally {
    for (const end of ends.reverse()) await end()
  }
}
