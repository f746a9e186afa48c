import { Command } from 'commander'
import type { OnProgress } from '../core/checks/findings.ts'
import type { Core } from '../core/core.ts'

/**
 * Runs one command on the opened store.
 *
 * @param work answers what `--json` prints
 * @param words says the same to a person
 */
export type Run = <T>(
  command: Command,
  work: (core: Core) => Promise<T>,
  words: (result: T) => string,
) => Promise<void>

/** Something to be mended was found, or the request was refused. */
export const EXIT_FINDINGS = 1

/** Prints what a command has to say: to a program with `--json`, otherwise to a person. */
export function print<T>(command: Command, result: T, words: (result: T) => string): void {
  const json = command.optsWithGlobals().json === true
  process.stdout.write(`${json ? JSON.stringify(result) : words(result)}\n`)
}

/** The store that a check looks into. */
export interface CheckedStore {
  readonly core: Core
  /** Whether a server uses the store. */
  readonly served: boolean
}

/** How a check is watched and ended. */
export interface CheckControl {
  /** Aborts when somebody interrupts the command. */
  readonly signal: AbortSignal
  readonly onProgress: OnProgress | undefined
}

/**
 * Runs one check of the opened store. It ends with 0 when all was well, with 1 when not, and with 2
 * when it could not run, whatever the reason.
 */
export type RunCheck<Place = CheckedStore> = <T>(
  command: Command,
  check: {
    work(place: Place & CheckControl): Promise<T>
    isClean(report: T): boolean
    /** What `--json` prints. */
    json(report: T): object
    words(report: T): string
  },
) => Promise<void>

/** A command whose errors are thrown and whose `--json` stands behind it as well as before. */
export function createCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(oneLine(text)) })
    .option('--json', 'print exactly one JSON object')
}

/** A command that only groups others. */
export function createGroup(name: string, description: string, commands: Command[]): Command {
  const group = createCommand(name, description)
  for (const command of commands) group.addCommand(command)
  return group
}

/** What commander says about the words of a call, in the form of all other errors. */
function oneLine(text: string): string {
  return `${text
    .trim()
    .replace(/^error: /, 'holdfast: ')
    .replaceAll('\n', ' ')}\n`
}
