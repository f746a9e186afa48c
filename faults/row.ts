import type { Scope } from '../packages/server/test/helpers/cleanup.ts'

/** One line of the fault matrix: something goes on, and something goes wrong. */
export interface Row {
  /** What goes on. Together with `fault` it is the row's name. */
  readonly step: string
  /** What goes wrong. */
  readonly fault: string
  /** Whether it mostly waits for limits to pass, so that it may run beside others. */
  readonly waits?: boolean
  /**
   * Holds what is promised against the fault.
   *
   * @returns how many times it was tried
   * @throws when the promise is not kept
   */
  run(t: RowScope): Promise<number>
}

export interface RowScope extends Scope {
  /** Says why the row cannot run here. With CI=true that is a failure. */
  skip(reason: string): void
}
