import { CommanderError } from 'commander'
import { type Config, loadConfig } from '../config.ts'
import { CoreError } from '../core/errors.ts'
import { isMendable } from '../mendable.ts'
import { type Opened, openForCommand, openForKeys } from '../open.ts'
import { appCommand } from './commands/app.ts'
import { fsckCommand, gcCommand, scrubCommand } from './commands/checks.ts'
import { companyCommand } from './commands/company.ts'
import { keysCommand } from './commands/keys.ts'
import { migrateCommand } from './commands/migrate.ts'
import { previewsCommand } from './commands/previews.ts'
import { sessionCommand } from './commands/session.ts'
import { tokenCommand } from './commands/token.ts'
import { userCommand } from './commands/user.ts'
import { showProgress } from './progress.ts'
import { createGroup, EXIT_FINDINGS, print, type Run, type RunCheck } from './run.ts'

const EXIT_COULD_NOT_RUN = 2

/** Opens the store for one command, prints its result, and closes. */
function runner(open: (config: Config, clock: () => number) => Promise<Opened>): Run {
  return async (command, work, words) => {
    const store = await open(loadConfig(), Date.now)
    try {
      print(command, await work(store.core), words)
    } finally {
      await store.close()
    }
  }
}

const run = runner(openForCommand)

/** Another command may have begun to change what this one changes: it can be run again. */
function endAtOnce({ message }: Error): never {
  process.stderr.write(`holdfast: a lock is lost: ${message}. Run it again.\n`)
  process.exit(EXIT_COULD_NOT_RUN)
}

/** Opens what a check looks into, prints what it found, and closes. */
function checker<Place extends object>(
  open: () => Promise<Place & { close(): Promise<void> }>,
): RunCheck<Place> {
  return async (command, { work, isClean, json, words }) => {
    try {
      const place = await open()
      const progress = showProgress(command.optsWithGlobals().json !== true)
      const interruption = new AbortController()
      process.once('SIGINT', () => interruption.abort())
      try {
        const { signal } = interruption
        const report = await work({ ...place, signal, onProgress: progress.onProgress })
        progress.stop()
        print(command, json(report), () => words(report))
        process.exitCode = isClean(report) ? 0 : EXIT_FINDINGS
      } finally {
        progress.stop()
        await place.close()
      }
    } catch (error) {
      // Also when it ended halfway: to whoever reads the code, 1 would say that all was looked at.
      throw new CheckFailed(error)
    }
  }
}

const check = checker(() => openForCommand(loadConfig(), Date.now))
const checkAlone = checker<object>(async () => ({ close: async () => undefined }))

/** A check that did not come to its end. */
class CheckFailed extends Error {
  override name = 'CheckFailed'

  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

const program = createGroup(
  'holdfast',
  'Works on the store of a Holdfast server, beside it or while it is stopped.',
  [
    ...[
      ...[userCommand, sessionCommand, tokenCommand, companyCommand, appCommand],
      previewsCommand,
    ].map((make) => make(run)),
    keysCommand(
      run,
      runner((config, clock) => openForKeys(config, clock, endAtOnce)),
      endAtOnce,
    ),
    ...[fsckCommand, scrubCommand, gcCommand].map((make) => make(check)),
    migrateCommand(checkAlone, endAtOnce),
  ],
)

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = exitCodeOf(error)
}

function exitCodeOf(error: unknown): number {
  // Commander has said what is wrong with the words of the call, or has printed the help.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_COULD_NOT_RUN
  if (error instanceof CheckFailed) {
    const { cause } = error
    const isBug = !(cause instanceof CoreError) && !isMendable(cause)
    const text = isBug && cause instanceof Error ? cause.stack : error.message
    process.stderr.write(`holdfast: ${text}\n`)
    return EXIT_COULD_NOT_RUN
  }
  if (!(error instanceof CoreError) && !isMendable(error)) throw error
  process.stderr.write(`holdfast: ${error.message}\n`)
  return error instanceof CoreError ? EXIT_FINDINGS : EXIT_COULD_NOT_RUN
}
