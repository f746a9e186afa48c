import { link, open, rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { failpoint } from '../core/failpoints.ts'
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
  const unfinished = await writeUnfinished(path, text)
  // Unlike a rename this never replaces a file.
  try {
    await link(unfinished, path)
    await failpoint('new-file.linked')
  } finally {
    await rm(unfinished)
  }
  await syncFolder(dirname(resolve(path)))
}

/** The same in the place of a file that is there. */
export async function replaceFile(path: string, text: string): Promise<void> {
  await rename(await writeUnfinished(path, text), path)
  await syncFolder(dirname(resolve(path)))
}

/** @returns where the whole text lies, durable */
async function writeUnfinished(path: string, text: string): Promise<string> {
  const unfinished = `${path}${UNFINISHED}`
  await rm(unfinished, { force: true })
  const file = await open(unfinished, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await failpoint('new-file.written')
  return unfinished
}
