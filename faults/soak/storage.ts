import { join } from 'node:path'
import { holdfast, oneObject, type Settings } from '../../e2e/processes.ts'
import { filesBelow } from '../../packages/server/test/helpers/store.ts'
import { LossError } from './ledger.ts'
import type { World } from './world.ts'

/** After the sweep and before any request: `holdfast fsck` finds nothing, and nothing is half-done. */
export async function checkStorage({ data, settings }: World): Promise<void> {
  await checkRows(settings)
  const [left] = await filesBelow(join(data, 'tmp'))
  if (left) throw new LossError(`${left} is left in tmp`)
}

/** The same where there is no folder. */
export async function checkRows(settings: Settings): Promise<void> {
  const { code, stdout, stderr } = await holdfast(settings, 'fsck', '--json')
  if (code !== 0) throw new LossError(`fsck ended with ${code}: ${stdout}${stderr}`)
  // Beside a server these are no findings, but here nothing is on its way.
  const { deleting } = oneObject<{ deleting: number }>(stdout)
  if (deleting > 0) throw new LossError(`${deleting} blobs are half-removed`)
}
