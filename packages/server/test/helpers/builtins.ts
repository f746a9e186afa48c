import { syncBuiltinESMExports } from 'node:module'
import type { TestContext } from 'node:test'
import { atEnd } from './cleanup.ts'

/** A stub in the place of a function of Node's own; what it stands in for is there to be called. */
export interface Stub {
  /** Puts the real function back before the test ends. */
  restore(): void
}

/**
 * Replaces a function of a built-in module, also for modules that import it by name, until the
 * test ends. For the whole process: tests that do so must not run beside others of their file.
 *
 * @param make gets the real function and answers the stub
 */
export function stub<T extends object, K extends keyof T>(
  t: TestContext,
  target: T,
  name: K,
  make: (real: T[K]) => T[K],
): Stub {
  const real = target[name]
  target[name] = make(real)
  syncBuiltinESMExports()
  function restore(): void {
    target[name] = real
    syncBuiltinESMExports()
  }
  atEnd(t, restore)
  return { restore }
}

/** An error as the operating system's. */
export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: made up by a test`), { code })
}
