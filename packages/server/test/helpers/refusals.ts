import assert from 'node:assert/strict'
import { CoreError, type CoreErrorCode } from '../../src/core/errors.ts'

/** Asserts that `work` is refused by the core with one of `codes`. */
export async function assertRefused(
  work: Promise<unknown> | (() => Promise<unknown>),
  ...codes: CoreErrorCode[]
): Promise<void> {
  await assert.rejects(work, refusal(codes))
}

/** The same for work that is not asynchronous. */
export function assertRefusedAtOnce(work: () => unknown, ...codes: CoreErrorCode[]): void {
  assert.throws(work, refusal(codes))
}

function refusal(codes: readonly CoreErrorCode[]): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof CoreError, `${error} is no refusal of the core`)
    assert.ok(codes.includes(error.code), `${error.code} (${error.message}), not ${codes}`)
    return true
  }
}
