import { type Command, InvalidArgumentError } from 'commander'
import { durationOf } from '../../config.ts'
import type { Finding, FindingKind } from '../../core/checks/findings.ts'
import type { FsckReport } from '../../core/checks/fsck.ts'
import type { GcReport } from '../../core/checks/gc.ts'
import type { ScrubReport } from '../../core/checks/scrub.ts'
import { createCommand, type RunCheck } from '../run.ts'

/** Nothing that a server has begun lies so long between its object and its row. */
const LEAST_GRACE_MS = 3600 * 1000
const GRACE = '24h'
const MB = 1024 * 1024

export function fsckCommand(check: RunCheck): Command {
  interface Options {
    repair: boolean
    grace: number
    show: number
  }
  return createCommand('fsck', 'hold rows, stored objects and keys against each other')
    .option('--repair', 'put right what can be put right without losing anything', false)
    .option('--grace <time>', GRACE_HELP, grace, grace(GRACE))
    .option('--show <count>', 'findings to print; all are counted', count, 100)
    .action(({ repair, grace, show: most }: Options, command: Command) =>
      check(command, {
        work: ({ core: { checks }, served, onProgress }) =>
          checks.fsck({ served, grace, repair, most, ...(onProgress && { onProgress }) }),
        isClean: ({ total }) => total === 0,
        json: fsckJson,
        words: fsckWords,
      }),
    )
}

export function scrubCommand(check: RunCheck): Command {
  interface Options {
    rate: number
    restart: boolean
    show: number
  }
  return createCommand('scrub', 'open every chunk of everything that is stored')
    .option('--rate <MB/s>', 'content opened in a second, at most; 0 is no limit', rate, 0)
    .option('--restart', 'begin anew, rather than where an interrupted scrub was', false)
    .option('--show <count>', 'findings to print; all are counted', count, 100)
    .action(({ rate, restart, show: most }: Options, command: Command) =>
      check(command, {
        work: ({ core: { checks }, signal, onProgress }) =>
          checks.scrub.run({ rate, restart, most, signal, ...(onProgress && { onProgress }) }),
        isClean: ({ total, finishedAt }) => total === 0 && finishedAt !== null,
        json: scrubJson,
        words: scrubWords,
      }),
    )
}

export function gcCommand(check: RunCheck): Command {
  interface Options {
    dryRun: boolean
    grace: number
    limit: number
    force: boolean
  }
  return createCommand('gc', 'move stored objects that no row names to the trash, and empty it')
    .option('--dry-run', 'only say what would be done', false)
    .option('--grace <time>', GRACE_HELP, grace, grace(GRACE))
    .option('--limit <count>', 'objects to move at most', count, 10_000)
    .option('--force', 'go on although suspiciously many objects have no row', false)
    .action(({ dryRun, grace, limit, force }: Options, command: Command) =>
      check(command, {
        work: ({ core: { checks }, served, onProgress }) =>
          checks.gc({ served, dryRun, grace, limit, force, ...(onProgress && { onProgress }) }),
        isClean: ({ clean }) => clean,
        json: gcJson,
        words: gcWords,
      }),
    )
}

const GRACE_HELP = 'beside a running server, leave alone what is younger (as 24h; at least 1h)'

function grace(text: string): number {
  const milliseconds = durationOf(text)
  if (milliseconds !== undefined && milliseconds >= LEAST_GRACE_MS) return milliseconds
  throw new InvalidArgumentError('It is a number of hours or days, like 24h, at least 1h.')
}

export function count(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is a whole number.')
}

/** MB a second, answered in bytes. */
function rate(text: string): number {
  if (/^\d{1,6}(\.\d{1,3})?$/.test(text)) return Number(text) * MB
  throw new InvalidArgumentError('It is a number of MB a second.')
}

function fsckJson(report: FsckReport): object {
  const { total, repaired, checked, stopped, deleting, trash, quarantine, scrub } = report
  return {
    clean: total === 0,
    ...findingsJson(report),
    repaired,
    stopped,
    checked,
    deleting,
    trash,
    quarantine,
    scrub: {
      started_at: time(scrub.startedAt),
      finished_at: time(scrub.finishedAt),
      unfinished: scrub.isUnfinished,
    },
  }
}

function fsckWords(report: FsckReport): string {
  const { checked, repaired, stopped, trash, quarantine } = report
  const lines = findingsWords(report)
  if (stopped) {
    lines.push('Nothing was moved to the trash: more objects have no row than crashes leave.')
  }
  if (repaired > 0) lines.push(`${repaired} put right.`)
  lines.push(`${checked.rows} rows and ${checked.objects} objects were looked at.`)
  for (const [name, { objects, bytes }] of Object.entries({ trash, quarantine })) {
    if (objects > 0) lines.push(`In the ${name}: ${objects} objects, ${bytes} bytes.`)
  }
  return lines.join('\n')
}

function scrubJson(report: ScrubReport): object {
  const { total, objects, bytes, startedAt, finishedAt, resumed } = report
  return {
    clean: total === 0 && finishedAt !== null,
    ...findingsJson(report),
    checked: { objects, bytes },
    started_at: time(startedAt),
    finished_at: time(finishedAt),
    resumed,
  }
}

function scrubWords(report: ScrubReport): string {
  const { objects, bytes, finishedAt } = report
  const end = finishedAt === null ? 'Stopped; the next scrub goes on from here.' : 'All was opened.'
  return [...findingsWords(report), `${objects} objects, ${bytes} bytes. ${end}`].join('\n')
}

function gcJson(report: GcReport): object {
  const { untracked, untrackedBytes, recent, objects, trashed, trashedBytes } = report
  const { removed, removedBytes, finished, stopped, clean, dryRun } = report
  return {
    clean,
    dry_run: dryRun,
    objects,
    untracked: { objects: untracked, bytes: untrackedBytes },
    recent,
    trashed: { objects: trashed, bytes: trashedBytes },
    removed: { objects: removed, bytes: removedBytes },
    finished,
    stopped,
  }
}

function gcWords(report: GcReport): string {
  const { dryRun, untracked, objects, trashed, trashedBytes, removed, removedBytes } = report
  const would = dryRun ? 'Would move' : 'Moved'
  const lines = [
    `${untracked} of ${objects} objects have no row.`,
    `${would} ${trashed} to the trash (${trashedBytes} bytes), and ${dryRun ? 'remove' : 'removed'} ${removed} from it (${removedBytes} bytes).`,
  ]
  if (report.recent > 0) lines.push(`Left alone as uploads in flight: ${report.recent}.`)
  if (report.finished > 0) lines.push(`Interrupted removals: ${report.finished}.`)
  if (report.stopped) {
    lines.push(
      'Stopped: that is more than crashes leave. Is it the right database? --force goes on.',
    )
  }
  return lines.join('\n')
}

interface Found {
  readonly findings: readonly Finding[]
  readonly counts: Readonly<Partial<Record<FindingKind, number>>>
  readonly total: number
}

export function findingsJson({ findings, counts, total }: Found): object {
  return { total, counts, findings }
}

export function findingsWords({ findings, counts, total }: Found): string[] {
  if (total === 0) return ['Nothing is wrong.']
  const lines = findings.map(({ kind, object, table, id, text, repair }) => {
    const what = object ?? [table, id].filter(Boolean).join(' ')
    return [kind, what, repair ? `${text} (${repair})` : text].filter(Boolean).join('  ')
  })
  if (findings.length < total) lines.push(`… and ${total - findings.length} more`)
  const kinds = Object.entries(counts).map(([kind, number]) => `${number} ${kind}`)
  return [...lines, `${total} findings: ${kinds.join(', ')}.`]
}

function time(instant: number | null): string | null {
  return instant === null ? null : new Date(instant).toISOString()
}
