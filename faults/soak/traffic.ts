import type { Ledger, ReadResult } from './ledger.ts'
import type { Random } from './random.ts'
import type { Answer } from './requests.ts'

/** What the clients of one dialect do. */
export interface Traffic {
  readonly name: string
  readonly ledger: Ledger
  /** Does something, chosen by `random`. @throws CutError, LossError */
  step(random: Random): Promise<void>
  /** Holds all that the server has against what clients were told, while nobody else is asking. */
  check(): Promise<void>
}

/** What its clients did so far. */
export function countsText({ name, ledger }: Traffic): string {
  const { stored, changed, removed, read, settled } = ledger.counts
  return `${name}: ${stored} stored, ${changed} overwritten, ${removed} deleted, ${read} read, ${settled} open at an end`
}

/** A whole content or a range of it, or that it is gone. */
export function readResult({ status, bytes }: Answer, start?: number): ReadResult {
  if (status === 200) return { bytes }
  if (status === 206 && start !== undefined) return { bytes, start }
  if (status === 404 || status === 409) return 'gone'
  throw new Error(`a download answered ${status}: ${bytes.subarray(0, 500)}`)
}

/** A range that a file of this size has, and its header; none for an empty file. */
export function randomRange(
  random: Random,
  size: number,
): { start: number; header: Record<string, string> } | undefined {
  if (size === 0 || random.onceIn(2)) return undefined
  const start = random.between(0, size)
  const end = random.between(start, Math.min(size, start + 200_000))
  return { start, header: { range: `bytes=${start}-${end}` } }
}

/** A client that gives up, now and then. */
export function patience(random: Random): number | undefined {
  return random.onceIn(25) ? random.between(1, 40) : undefined
}
