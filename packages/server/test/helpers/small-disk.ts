import { execFileSync } from 'node:child_process'
import { mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atEnd, type Scope } from './cleanup.ts'

/**
 * A file system of so many MiB that goes with the test. Only root may mount one: without the right
 * to, the test is skipped, but for continuous integration, where it fails.
 *
 * @returns its folder, or undefined when the test is skipped
 */
export async function mountSmallDisk(
  t: Scope & { skip(reason: string): void },
  mebibytes: number,
): Promise<string | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', folder], {
      stdio: 'pipe',
    })
  } catch (error) {
    await rmdir(folder)
    if (process.env.CI === 'true') throw error
    t.skip('nobody but root can mount a small disk')
    return undefined
  }
  atEnd(t, async () => {
    execFileSync('umount', ['--lazy', folder])
    await rmdir(folder)
  })
  return folder
}
