#!/usr/bin/env node
import { CommanderError } from 'commander'
import { loadConfig } from '../config.ts'
import { CoreError } from '../core/errors.ts'
import { isMendable } from '../mendable.ts'
import { openForCommand } from '../open.ts'
import { appCommand } from './commands/app.ts'
import { companyCommand } from './commands/company.ts'
import { sessionCommand } from './commands/session.ts'
import { tokenCommand } from './commands/token.ts'
import { userCommand } from './commands/user.ts'
import { createGroup, type Run } from './run.ts'

const EXIT_FINDINGS = 1
const EXIT_COULD_NOT_RUN = 2

/** Opens the store for one command, prints its result, and closes. */
const run: Run = async (command, work, words) => {
  const store = await openForCommand(loadConfig(), Date.now)
  try {
    const result = await work(store.core)
    const json = command.optsWithGlobals().json === true
    process.stdout.write(`${json ? JSON.stringify(result) : words(result)}\n`)
  } finally {
    await store.close()
  }
}

const program = createGroup(
  'holdfast',
  'Works on the store of a Holdfast server, beside it or while it is stopped.',
  [userCommand, sessionCommand, tokenCommand, companyCommand, appCommand].map((make) => make(run)),
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
