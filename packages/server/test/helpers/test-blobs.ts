import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../../src/config.ts'

/**
 * Where the stores of tests keep their blobs: in their data folders, or each below a prefix of its
 * own in the bucket that `HOLDFAST_TEST_BLOBS_URL` names.
 */
export function testBlobSettings(): NodeJS.ProcessEnv {
  const { HOLDFAST_TEST_BLOBS_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = process.env
  if (!HOLDFAST_TEST_BLOBS_URL) return {}
  const url = new URL(HOLDFAST_TEST_BLOBS_URL)
  url.pathname = `/${randomUUID()}`
  return { HOLDFAST_BLOBS_URL: url.href, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY }
}

/** Names of the objects below a folder of a store, sorted: `blobs`, `tmp`, `trash`, `keyring`. */
export async function objectNames(config: Config, folder: string): Promise<string[]> {
  if (!config.blobs) {
    const path = join(config.data, folder)
    const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => [])
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(config.data.length + 1))
      .sort()
  }
  const { openS3Store } = await import('../../src/store/blobs/s3/store.ts')
  const store = await openS3Store(config.blobs)
  try {
    const names: string[] = []
    for await (const { name } of store.list(`${folder}/`)) names.push(name)
    return names.sort((one, other) => (one < other ? -1 : 1))
  } finally {
    await store.close()
  }
}
