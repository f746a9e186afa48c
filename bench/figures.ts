import { loadavg } from 'node:os'

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other)
  const middle = Math.floor(sorted.length / 2)
  const [upper = Number.NaN, lower = upper] = [sorted[middle], sorted[middle - 1]]
  return sorted.length % 2 === 1 ? upper : (upper + lower) / 2
}

/** A table in Markdown; the first line is its head. */
export function markdownTable(lines: readonly (readonly string[])[]): string {
  const [head = [], ...rest] = lines
  return [head, head.map(() => '---'), ...rest]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

/** Whether an aim was reached, as it stands in tables. */
export function verdict(isReached: boolean): string {
  return isReached ? 'reached' : '**not reached**'
}

/** What a run was made with; the load is that before it. */
export function machineNow(): { readonly node: string; readonly load: number } {
  return { node: process.version, load: loadavg()[0] ?? 0 }
}
