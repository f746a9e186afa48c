import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startPostgres } from '../postgres.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** What is not about the database, or about SQLite. */
const ELSEWHERE = ['packages/server/test/store/**']

/** Of the slow set, what is about the database. */
const SLOW = [
  'e2e/races.test.ts',
  'e2e/written.test.ts',
  'e2e/cli/commands.test.ts',
  'e2e/cli/start.test.ts',
]

const postgres = await startPostgres()

describe('on PostgreSQL', { skip: typeof postgres === 'string' && postgres }, () => {
  it('the whole suite of the server passes', async () => {
    if (typeof postgres === 'string') return
    const suite = globSync('packages/server/test/**/*.test.ts', { cwd: ROOT, exclude: ELSEWHERE })
    const files = [...suite, ...SLOW]
    assert.ok(files.length > 50)
    const words = ['--test', '--test-concurrency=3', '--test-timeout=300000', ...files]
    const env = { ...process.env }
    // Otherwise the tests take themselves for one of these.
    delete env.NODE_TEST_CONTEXT
    const child = spawn(process.execPath, words, { cwd: ROOT, env, stdio: 'inherit' })
    const [code] = await once(child, 'close')
    assert.equal(code, 0)
  })
})
