import { setTimeout as sleep } from 'node:timers/promises'
import { type ServerProcess, type Settings, startServerProcess } from '../../e2e/processes.ts'

export const SERVERS = 2
/** Commands take a killed server for a running one for a minute after it was heard of. */
const KILLED_COUNTS_MS = 65_000

/** Server processes on one store, which are killed and started again. */
export interface Servers {
  /** Where one listens, and which process it is; both change when it is started again. */
  readonly at: (number: number) => { readonly address: string; readonly pid: number }
  /** Whether its process has ended since that time, of `performance.now()`. */
  hasEndedSince(number: number, since: number): boolean
  pids(): number[]
  /** Ends it without a word. */
  kill(number: number): Promise<void>
  /** Starts it again, and waits until it serves. */
  start(number: number): Promise<void>
  /** Asks all of them to stop, which they have to do well, and waits until none counts as running. */
  stopAll(): Promise<void>
  /** Starts all of them at the same moment, and waits until they serve. */
  startAll(): Promise<void>
  /** What each has logged, of all its processes one after the other. */
  logs(): string[]
  killAll(): Promise<void>
}

/** @param settings of each */
export async function startServers(settings: Settings): Promise<Servers> {
  const started: ServerProcess[][] = []
  /** When the process that serves was ready; undefined while none does. */
  const readyAt: (number | undefined)[] = []

  let killedAt = Number.NEGATIVE_INFINITY

  async function start(number: number): Promise<void> {
    // They end with the whole.
    const server = await startServerProcess({ after: () => undefined }, settings)
    started[number] = [...(started[number] ?? []), server]
    readyAt[number] = performance.now()
  }

  function current(number: number): ServerProcess {
    const server = started[number]?.at(-1)
    if (!server) throw new Error(`server ${number} was never started`)
    return server
  }

  async function end(number: number, how: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    readyAt[number] = undefined
    const { child, ended } = current(number)
    child.kill(how)
    const { code, stderr } = await ended
    if (how === 'SIGTERM' && code !== 0) {
      throw new Error(`a server ended with ${code}: ${stderr.slice(-2000)}`)
    }
  }

  async function startAll(): Promise<void> {
    await Promise.all(numbers.map(start))
  }

  const numbers = Array.from({ length: SERVERS }, (_, number) => number)
  const servers: Servers = {
    at: current,
    hasEndedSince: (number, since) => (readyAt[number] ?? Number.POSITIVE_INFINITY) > since,
    pids: () => started.flatMap((processes) => processes.at(-1)?.pid ?? []),
    kill(number) {
      killedAt = performance.now()
      return end(number, 'SIGKILL')
    },
    start,
    async stopAll() {
      await Promise.all(numbers.map((number) => end(number, 'SIGTERM')))
      await sleep(Math.max(0, killedAt + KILLED_COUNTS_MS - performance.now()))
    },
    startAll,
    logs: () => started.map((processes) => processes.map(({ stderr }) => stderr()).join('\n')),
    async killAll() {
      await Promise.all(started.flat().map((server) => server.kill()))
    },
  }
  try {
    await startAll()
  } catch (error) {
    await servers.killAll()
    throw error
  }
  return servers
}
