import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Files, nodeFiles } from './files.ts'

/** Makes names that were added to or removed from a folder durable. */
export async function syncFolder(
  folder: string,
  files: Pick<Files, 'open'> = nodeFiles,
): Promise<void> {
  const handle = await files.open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes a folder and those above it that are missing, each durable in its own parent. */
export async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  for (let made = path; ; made = dirname(made)) {
    await syncFolder(dirname(made))
    if (made === first) return
  }
}
