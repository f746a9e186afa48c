import { bytesOf, type Content, type Random } from './random.ts'
import { CutError } from './requests.ts'

/** What a file may be for its client: there with a content, or not there. */
export type State = Content | 'gone'

/** A file as its client knows it. */
export interface Kept {
  /** Tells it from all others. */
  readonly name: string
  /** As the server calls it; empty until it has said. */
  id: string
  /** One state when everything that was sent about it was answered, else all that are right. */
  possible: readonly State[]
  /** Every state that it was meant to have, in order. */
  readonly states: State[]
  /** Whether a request that changes it is on its way. */
  busy: boolean
  /** Chunks that the server has said to have, while its content is not whole. */
  readonly chunks: Set<number>
  /** What was done with it, to be shown when it is lost. */
  readonly story: string[]
}

/** The server has lost something, or answered what nobody asked for. */
export class LossError extends Error {
  override name = 'LossError'
  readonly kept: Kept | undefined

  constructor(message: string, kept?: Kept) {
    super(message)
    this.kept = kept
  }
}

/** What was lost, and all that was done with it. */
export function lossText({ message, kept }: LossError): string {
  if (!kept) return `LOST: ${message}`
  return [`LOST: ${message}`, `${kept.name}, ${kept.id}`, ...kept.story].join('\n  ')
}

/** Everything that the clients of one kind of traffic were told. */
export interface Ledger {
  readonly counts: Record<'stored' | 'changed' | 'removed' | 'read' | 'settled', number>
  /** All that may still be there, in the order in which they came. */
  all(): readonly Kept[]
  /** Whether so many are there that more should be removed than added. */
  isFull(): boolean
  /** Any file that is surely there and that nobody changes, or undefined. */
  any(random: Random): Kept | undefined
  add(name: string): Kept
  /**
   * Does what gives a file another state. Until it is answered both are right.
   *
   * @throws what `work` throws
   */
  change(kept: Kept, what: string, after: State, work: () => Promise<void>): Promise<void>
  /** Holds what a read gave against what the file may be, or may have been meanwhile. */
  read(kept: Kept, what: string, work: () => Promise<ReadResult>): Promise<void>
  /** What the server has, asked for when nothing is on its way: from now on only that is right. */
  settle(kept: Kept, found: ReadResult): void
  /** Forgets a file of which nobody can tell whether it is there. */
  forget(kept: Kept): void
}

/** A content or a part of one, or that there is none. */
export type ReadResult = 'gone' | { readonly bytes: Buffer; readonly start?: number }

/** Files of one kind that are kept at a time. */
const MOST_FILES = 60

export function createLedger(): Ledger {
  const kept = new Set<Kept>()
  const counts = { stored: 0, changed: 0, removed: 0, read: 0, settled: 0 }
  const started = Date.now()

  function tell({ story }: Kept, what: string): void {
    story.push(`${((Date.now() - started) / 1000).toFixed(3)} s: ${what}`)
  }

  function isThere({ possible, busy }: Kept): boolean {
    return !busy && possible.length === 1 && possible[0] !== 'gone'
  }

  return {
    counts,
    all: () => [...kept],
    isFull: () => [...kept].filter(isThere).length > MOST_FILES,
    any: (random) => random.any([...kept].filter(isThere)),

    add(name) {
      const added: Kept = {
        name,
        id: '',
        possible: ['gone'],
        states: ['gone'],
        busy: false,
        chunks: new Set(),
        story: [],
      }
      kept.add(added)
      return added
    },

    async change(changed, what, after, work) {
      const before = changed.possible
      tell(changed, `${what}, to be ${described(after)}`)
      changed.busy = true
      changed.possible = [...before, after]
      changed.states.push(after)
      try {
        await work()
      } catch (error) {
        tell(changed, error instanceof CutError ? 'not answered' : `${error}`)
        throw blamed(error, changed)
      } finally {
        changed.busy = false
      }
      tell(changed, 'answered')
      changed.possible = [after]
      changed.chunks.clear()
      if (after === 'gone') {
        counts.removed += 1
      } else if (before.includes('gone')) counts.stored += 1
      else counts.changed += 1
    },

    async read(read, what, work) {
      const before = [...read.possible]
      const known = read.states.length
      const found = await work().catch((error: unknown) => {
        const changed = read.busy || read.states.length > known
        // Bytes that were removed while they were read are no loss.
        if (error instanceof CutError && changed) return undefined
        throw blamed(error, read)
      })
      counts.read += 1
      const right = [...before, ...read.states.slice(known)]
      if (!found || right.some((state) => isWhat(state, found))) return
      throw new LossError(
        `${what} gave ${foundWhat(found)}, right is ${right.map(described)}`,
        read,
      )
    },

    settle(settled, found) {
      const state = settled.possible.find((possible) => isWhat(possible, found))
      if (!state) {
        const right = settled.possible.map(described)
        throw new LossError(`found ${foundWhat(found)}, right is ${right}`, settled)
      }
      if (settled.possible.length > 1) {
        counts.settled += 1
        tell(settled, `found ${described(state)}`)
      }
      settled.possible = [state]
      if (state !== 'gone') settled.chunks.clear()
    },

    forget: (forgotten) => kept.delete(forgotten),
  }
}

/** An answer that nobody expected is a loss of the file that was asked for. */
function blamed(error: unknown, kept: Kept): unknown {
  if (error instanceof CutError || error instanceof LossError) return error
  return new LossError(`${error}`, kept)
}

function isWhat(state: State, found: ReadResult): boolean {
  if (state === 'gone' || found === 'gone') return state === found
  const bytes = bytesOf(state)
  const { start } = found
  const expected = start === undefined ? bytes : bytes.subarray(start, start + found.bytes.length)
  return expected.equals(found.bytes)
}

function described(state: State): string {
  return state === 'gone' ? 'gone' : `${state.size} bytes (${state.seed})`
}

function foundWhat(found: ReadResult): string {
  if (found === 'gone') return 'nothing'
  const place = found.start === undefined ? '' : ` from ${found.start}`
  return `${found.bytes.length} bytes${place}`
}
