import { readdirSync, readFileSync } from 'node:fs'

/** A process and all that it has begun, itself first. */
export type TreeOf = (root: number) => number[]

/** Looks at the processes that run now. */
export function processTrees(): TreeOf {
  const children = Map.groupBy(runningProcesses(), ({ parent }) => parent)
  return (root) => {
    const found = [root]
    for (const pid of found) found.push(...(children.get(pid) ?? []).map((child) => child.pid))
    return found
  }
}

/** Ends a process without a word, unless it has ended. */
export function killSurely(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function runningProcesses(): { pid: number; parent: number }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), parent: parentOf(name) }))
}

function parentOf(pid: string): number {
  // The name of a program, in brackets, may have anything in it.
  const [, rest = ''] = /\) \S (\d+)/.exec(read(`/proc/${pid}/stat`)) ?? []
  return Number(rest)
}

/** Memory of a process in bytes; none of one that has ended. */
export interface Memory {
  /** What it has in memory, shared or not. */
  readonly resident: number
  /** The same, but of what it shares with others only its share: these add up. */
  readonly share: number
}

export function memoryOf(pid: number): Memory {
  const text = read(`/proc/${pid}/smaps_rollup`)
  const bytes = (name: string) =>
    Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(text)?.[1] ?? 0)
  return { resident: bytes('Rss') * 1024, share: bytes('Pss') * 1024 }
}

/** Of a process that ends meanwhile there is nothing to read. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
