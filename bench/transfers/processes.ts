import { readFileSync, writeFileSync } from 'node:fs'

const TICKS_PER_SECOND = 100

/** CPU seconds that processes have used, all their threads together. */
export function cpuSeconds(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may contain anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return Number(fields[11]) + Number(fields[12])
  })
  return ticks.reduce((sum, each) => sum + each, 0) / TICKS_PER_SECOND
}

/** Begins to measure the peak of memory anew. */
export function resetPeak(pids: readonly number[]): void {
  for (const pid of pids) writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

/** MiB of memory at the peak since `resetPeak`, of all processes. */
export function peakMemory(pids: readonly number[]): number {
  const kib = pids.map((pid) =>
    Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]),
  )
  return kib.reduce((sum, each) => sum + each, 0) / 1024
}
