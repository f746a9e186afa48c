import assert from 'node:assert/strict'
import { join } from 'node:path'
import { loadConfig } from '../packages/server/src/config.ts'
import { openForCommand } from '../packages/server/src/open.ts'
import { filesBelow } from '../packages/server/test/helpers/store.ts'
import { settingsOf } from './place.ts'

/** After a sweep `holdfast fsck` finds nothing, and nothing is half-made. */
export async function assertSound(data: string, more: Record<string, string> = {}): Promise<void> {
  const config = loadConfig({ ...settingsOf(data), ...more })
  const store = await openForCommand(config, Date.now)
  try {
    // As if no server ran: nothing may be on its way.
    const options = { served: false, grace: 0, repair: false, most: 10 }
    const { findings, total } = await store.core.checks.fsck(options)
    assert.equal(total, 0, JSON.stringify(findings))
    assert.deepEqual(await filesBelow(join(data, 'tmp')), [])
  } finally {
    await store.close()
  }
}
