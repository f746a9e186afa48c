import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { FAILPOINTS } from '../../src/core/failpoints.ts'

const SOURCES = fileURLToPath(new URL('../../src', import.meta.url))

test('each failpoint stands once in the source, in the file that the list names', async () => {
  const found: [string, string][] = []
  const entries = await readdir(SOURCES, { recursive: true, withFileTypes: true })
  for (const entry of entries.filter(({ name }) => name.endsWith('.ts'))) {
    const file = join(entry.parentPath, entry.name)
    for (const [, name] of (await readFile(file, 'utf8')).matchAll(/\bfailpoint\('([^']+)'\)/g)) {
      found.push([String(name), relative(SOURCES, file)])
    }
  }
  const byName = (a: [string, string], b: [string, string]) => a[0].localeCompare(b[0])
  assert.deepEqual(found.sort(byName), Object.entries(FAILPOINTS).sort(byName))
})
