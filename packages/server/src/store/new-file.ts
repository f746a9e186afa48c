import { link, open, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { syncFolder } from './sync-folder.ts'

/** What the name of a file ends with while it is being written. */
export const UNFINISHED = '.new'

/**
 * Writes a file that only its owner can read, durably. It is there whole or not at all, whenever
 * this is interrupted.
 *
 * @throws EEXIST when there is one of that name already, which is left as it is
 */
export async function writeNewFile(path: string, text: string): Promise<void> {
  const unfinished = `${path}${UNFINISHED}`
  await rm(unfinished, { force: true })
  const file = await open(unfinished, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  // Unlike a rename this never replaces a file.
  try {
    await link(unfinished, path)
  } finally {
    await rm(unfinished)
  }
  await syncFolder(dirname(resolve(path)))
}
