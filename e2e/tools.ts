import { spawnSync } from 'node:child_process'
import type { TestContext } from 'node:test'

/**
 * Whether a program is there. Without it the test is skipped with a message, except on CI, where
 * everything is installed and a test that does not run would go unnoticed.
 */
export function hasTool(t: TestContext, name: string): boolean {
  const { error } = spawnSync(name, ['--version'], { stdio: 'ignore' })
  if (!error) return true
  if (process.env.CI === 'true') throw new Error(`${name} is not installed`)
  t.skip(`${name} is not installed`)
  return false
}
