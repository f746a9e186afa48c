import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import {
  COMMAND,
  environmentOf,
  ROOT,
  type ServerProcess,
  type Settings,
  startServerProcess,
} from '../../e2e/processes.ts'
import { EXIT_FINDINGS } from '../../packages/server/src/cli/run.ts'
import { createPeople, type People } from './people.ts'
import { ask } from './requests.ts'

/** A server on a folder of its own that is killed and started again, and those who use it. */
export interface World {
  /** Holds the data folder and the root key. */
  readonly folder: string
  readonly data: string
  readonly settings: Settings
  readonly people: People
  /** Whether the server is being ended: only then a request may be cut. */
  readonly isEnding: () => boolean
  /** Runs a command beside the server, as an operator does. */
  command(...words: string[]): Promise<void>
  /** Ends the server without a word, or asks it to end. */
  end(how: 'SIGKILL' | 'SIGTERM'): Promise<void>
  /** What the process that ran last has logged. */
  readonly log: () => string
  /** Starts it again and waits until it has swept. */
  start(): Promise<void>
  close(): Promise<void>
}

export async function createWorld(): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-soak-'))
  const data = join(folder, 'data')
  const settings: Settings = {
    HOLDFAST_DATA: data,
    HOLDFAST_PORT: '0',
    HOLDFAST_API_RATE_LIMIT: '0',
    HOLDFAST_LOG_LEVEL: 'info',
  }
  const endings: (() => unknown)[] = []
  const start = () => startServerProcess({ after: (work) => endings.push(work) }, settings)
  let server: ServerProcess = await start()
  let isEnding = false

  const people = await createPeople(settings, (path, method, question) =>
    ask(`${server.address}${path}`, method, question),
  )
  // One after the other: some take turns.
  let commands: Promise<void> = Promise.resolve()

  /** What a killed server leaves is found until the next one has swept; and what is being deleted keeps its epoch. */
  function isExpected(words: readonly string[], printed: string): boolean {
    if (words[0] === 'gc') return isEnding
    return words.join(' ') === 'keys rekey' && JSON.parse(printed).damaged === 0
  }

  return {
    folder,
    data,
    settings,
    people,
    isEnding: () => isEnding,

    command(...words) {
      commands = commands.then(() => command(settings, words, (found) => isExpected(words, found)))
      return commands
    },

    async end(how) {
      isEnding = true
      server.child.kill(how)
      const { code, stderr } = await server.ended
      if (how === 'SIGTERM' && code !== 0) throw new Error(`it ended with ${code}: ${tail(stderr)}`)
    },

    log: () => server.stderr(),

    async start() {
      server = await start()
      await server.logged('swept')
      isEnding = false
    },

    async close() {
      for (const end of endings) await end()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/**
 * A command that is not told what becomes of the server.
 *
 * @param mayFind whether what the command has found may be there, from what it printed
 */
async function command(
  settings: Settings,
  words: readonly string[],
  mayFind: (printed: string) => boolean,
): Promise<void> {
  const child = spawn(process.execPath, [COMMAND, ...words, '--json'], {
    cwd: ROOT,
    env: environmentOf(settings),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [printed, said, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  if (code === EXIT_FINDINGS && mayFind(printed)) return
  if (code !== 0) {
    throw new Error(`holdfast ${words.join(' ')} ended with ${code}: ${tail(printed + said)}`)
  }
}

function tail(text: string): string {
  return text.slice(-2000)
}
