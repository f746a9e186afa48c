import type { Traffic } from '../../faults/soak/traffic.ts'
import type { Outcome } from './clients.ts'
import type { Happening } from './happenings.ts'
import type { Peaks } from './memory.ts'

/** What a run has shown. */
export interface Run {
  readonly seed: string
  readonly clients: number
  /** How long clients sent. */
  readonly seconds: number
  readonly outcomes: readonly Outcome[]
  readonly happenings: readonly Happening[]
  readonly kinds: readonly Traffic[]
  readonly peaks: Peaks
  /** Objects without a row that were there in the end. */
  readonly leftovers: number
}

const MIB = 1024 * 1024
/** More than this is stored in the bucket: such an upload wants a server, the database and Ceph. */
const LARGE = 64 * 1024
const FAILURES = ['503', 'refused', 'cut', 'cut within'] as const

/** A run as Markdown. */
export function reportOf(run: Run): string {
  const { seed, clients, seconds, peaks, outcomes, leftovers } = run
  return [
    `Seed ${seed}, ${clients} clients, ${Math.round(seconds)} seconds: ${outcomes.length} requests, ${acknowledgedFiles(run)} uploads of files acknowledged, none lost, no byte wrong. At most ${mib(peaks.total)} MiB of memory were taken by everything together. ${leftovers} objects were left to the sweep.`,
    table(
      [
        'event',
        'at, s',
        'upload acknowledged after, s',
        ...FAILURES,
        'last of them after, s',
        'slowest, s',
      ],
      eventLines(run),
    ),
    table(
      [
        'dialect',
        'requests',
        'answered 2xx',
        '4xx',
        '503',
        'p50, ms',
        'p99, ms',
        'MiB up',
        'MiB down',
      ],
      dialectLines(run),
    ),
    table(['files', 'stored', 'overwritten', 'deleted', 'read', 'left'], fileLines(run)),
    table(['processes', 'most', 'together, MiB', 'largest, MiB resident'], memoryLines(run)),
  ].join('\n\n')
}

function eventLines({ outcomes, happenings }: Run): unknown[][] {
  const begun = Math.min(...outcomes.map((outcome) => outcome.begun))
  const before = { name: 'before all of that', at: begun }
  return [before, ...happenings].map(({ name, at }, index) => {
    const end = happenings[index]?.at ?? Number.POSITIVE_INFINITY
    const mine = outcomes.filter((outcome) => endOf(outcome) > at && endOf(outcome) <= end)
    const failed = mine.filter(({ result }) =>
      FAILURES.some((failure) => failure === String(result)),
    )
    const upload = outcomes.filter((outcome) => outcome.begun >= at && isLargeUpload(outcome))
    return [
      name,
      inSeconds(at - begun),
      index === 0 ? '' : inSeconds(least(upload.map(endOf)) - at),
      ...FAILURES.map(
        (failure) => failed.filter(({ result }) => String(result) === failure).length,
      ),
      failed.length === 0 ? '' : inSeconds(most(failed.map(endOf)) - at),
      inSeconds(most(mine.map(({ took }) => took))),
    ]
  })
}

function dialectLines({ outcomes }: Run): unknown[][] {
  const dialects = Map.groupBy(outcomes, ({ dialect }) => dialect)
  return [...dialects.entries(), ['all', outcomes] as const].map(([name, sent]) => {
    const good = sent.filter(({ result }) => isBetween(result, 200))
    const took = good.map((outcome) => outcome.took).sort((one, other) => one - other)
    const bytes = (isUp: boolean) =>
      sum(good.filter(({ method }) => (method === 'POST') === isUp).map((outcome) => outcome.bytes))
    return [
      name,
      sent.length,
      good.length,
      sent.filter(({ result }) => isBetween(result, 400)).length,
      sent.filter(({ result }) => result === 503).length,
      quantile(took, 0.5).toFixed(0),
      quantile(took, 0.99).toFixed(0),
      mib(bytes(true)),
      mib(bytes(false)),
    ]
  })
}

function acknowledgedFiles({ kinds }: Run): number {
  return sum(kinds.map(({ ledger }) => ledger.counts.stored + ledger.counts.changed))
}

function fileLines({ kinds }: Run): unknown[][] {
  const lines = kinds.map(({ name, ledger }) => {
    const { stored, changed, removed, read } = ledger.counts
    return { name, counts: [stored, changed, removed, read, ledger.all().length] }
  })
  const all = lines.map(({ counts }) => counts)
  const sums = all[0]?.map((_, column) => sum(all.map((counts) => counts[column] ?? 0))) ?? []
  return [...lines, { name: 'all', counts: sums }].map(({ name, counts }) => [name, ...counts])
}

function memoryLines({ peaks }: Run): unknown[][] {
  return [...peaks.kinds].map(([kind, { count, together, resident }]) => [
    kind,
    count,
    mib(together),
    mib(resident),
  ])
}

function isLargeUpload({ method, bytes, result }: Outcome): boolean {
  return method === 'POST' && bytes > LARGE && isBetween(result, 200)
}

function isBetween(result: Outcome['result'], status: number): boolean {
  return typeof result === 'number' && result >= status && result < status + 100
}

function endOf({ begun, took }: Outcome): number {
  return begun + took
}

function table(head: readonly string[], lines: readonly (readonly unknown[])[]): string {
  const rows = [head, head.map(() => '---'), ...lines]
  return rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function inSeconds(milliseconds: number): string {
  return Number.isFinite(milliseconds) ? (milliseconds / 1000).toFixed(1) : 'never'
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(0)
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN
}

function least(all: readonly number[]): number {
  return all.reduce((one, other) => Math.min(one, other), Number.POSITIVE_INFINITY)
}

function most(all: readonly number[]): number {
  return all.reduce((one, other) => Math.max(one, other), 0)
}

function sum(all: readonly number[]): number {
  return all.reduce((one, other) => one + other, 0)
}
