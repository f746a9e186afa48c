import type { Command } from 'commander'
import { loadConfig, loadDestination } from '../../config.ts'
import { type MoveReport, moveStore } from '../../move.ts'
import { createCommand, type RunCheck } from '../run.ts'
import { count, findingsJson, findingsWords } from './checks.ts'

/**
 * @param check opens nothing: the move opens both places itself
 * @param onLost ends the process
 */
export function migrateCommand(check: RunCheck<object>, onLost: (error: Error) => void): Command {
  interface Options {
    withFindings: boolean
    show: number
  }
  return createCommand('migrate', 'move the store to another database or another blob store')
    .option('--with-findings', 'move it also when something in it does not open', false)
    .option('--show <count>', 'findings to print; all are counted', count, 100)
    .addHelpText('after', HELP)
    .action(({ withFindings, show: most }: Options, command: Command) =>
      check(command, {
        async work({ signal, onProgress = () => undefined }) {
          const began = performance.now()
          const from = loadConfig()
          const options = { clock: Date.now, withFindings, most, signal, onProgress, onLost }
          const report = await moveStore(from, loadDestination(from), options)
          const { rootKeyFile } = from
          return { ...report, rootKeyFile, seconds: (performance.now() - began) / 1000 }
        },
        isClean: ({ total, moved }) => total === 0 && moved,
        json,
        words,
      }),
    )
}

const HELP = `
The store is where the settings say that it is. The new place is named by
  HOLDFAST_TO_DATABASE_URL   postgres://…, also as …_FILE
  HOLDFAST_TO_BLOBS_URL      s3://bucket/prefix?endpoint=…&region=…
  HOLDFAST_TO_DATA           a folder, for what goes to none of the two
Stop the server before. Run it again when it was interrupted: it goes on.`

interface TimedReport extends MoveReport {
  readonly rootKeyFile: string
  readonly seconds: number
}

function json(report: TimedReport): object {
  const { moved, resumed, total, rows, objects, bytes, copied, seconds } = report
  return {
    moved,
    clean: total === 0,
    ...findingsJson(report),
    resumed,
    rows,
    objects,
    bytes,
    copied,
    seconds: Math.round(seconds * 10) / 10,
  }
}

function words(report: TimedReport): string {
  const { moved, total, rows, objects, bytes, copied, seconds, rootKeyFile } = report
  const lines = total > 0 ? findingsWords(report) : []
  lines.push(
    `${rows} rows, ${objects} objects of ${bytes} bytes; ${copied.objects} of ${copied.bytes} bytes were copied now, in ${Math.round(seconds)} s.`,
  )
  if (moved) {
    lines.push(
      'The store is at its new place. The old one is as it was, but is not served any more.',
      `Give the server the new settings, with HOLDFAST_ROOT_KEY_FILE=${rootKeyFile}, and remove the old place when you need it no longer.`,
    )
  } else if (total > 0) {
    lines.push(
      'The store is where it was: mend it and run this again, or move it as it is (--with-findings).',
    )
  } else lines.push('Stopped: the store is where it was. Run this again to go on.')
  return lines.join('\n')
}
