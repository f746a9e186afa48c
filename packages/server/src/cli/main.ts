#!/usr/bin/env node
import { CommanderError } from 'commander'
import { type Config, loadConfig } from '../config.ts'
import { CoreError } from '../core/errors.ts'
import { isMendable } from '../mendable.ts'
import { type Opened, openForCommand, openForKeys } from '../open.ts'
import { appCommand } from './commands/app.ts'
import { companyCommand } from './commands/company.ts'
import { keysCommand } from './commands/keys.ts'
import { sessionCommand } from './commands/session.ts'
import { tokenCommand } from './commands/token.ts'
import { userCommand } from './commands/user.ts'
import { createGroup, EXIT_FINDINGS, print, type Run } from './run.ts'

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

const program = createGroup(
  'holdfast',
  'Works on the store of a Holdfast server, beside it or while it is stopped.',
  [
    ...[userCommand, sessionCommand, tokenCommand, companyCommand, appCommand].map((make) =>
      make(run),
    ),
    keysCommand(run, runner(openForKeys)),
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
  if (!(error instanceof CoreError) && !isMendable(error)) throw error
  process.stderr.write(`holdfast: ${error.message}\n`)
  return error instanceof CoreError ? EXIT_FINDINGS : EXIT_COULD_NOT_RUN
}
