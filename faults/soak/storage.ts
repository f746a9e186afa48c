import { existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { LossError } from './ledger.ts'
import type { World } from './world.ts'

/** After the sweep and before any request: rows and files say the same, and nothing is half-done. */
export async function checkStorage({ data }: World): Promise<void> {
  const database = new DatabaseSync(join(data, 'holdfast.db'), { readOnly: true, timeout: 5000 })
  const rows = database.prepare('select object, sealed_size from blob_part').all()
  const broken = database
    .prepare(
      `select id from blob where state = 'deleting' or (state = 'stored'
         and not exists (select 1 from blob_part where blob_id = id)
         and not exists (select 1 from small_content where blob_id = id))`,
    )
    .all()
  const [integrity] = database.prepare('pragma integrity_check').all()
  database.close()

  if (broken.length > 0) throw new LossError(`${broken.length} blobs are half-removed or empty`)
  if (integrity?.integrity_check !== 'ok') throw new LossError(`${integrity?.integrity_check}`)
  const files = await filesIn(data)
  for (const { object, sealed_size } of rows) {
    const size = files.get(String(object))
    if (size !== sealed_size) throw new LossError(`${object} has ${size} of ${sealed_size} bytes`)
    files.delete(String(object))
  }
  const [left] = files.keys()
  if (left) throw new LossError(`${files.size} files have no row, the first is ${left}`)
}

/** Sizes of stored and unfinished objects, by name. */
async function filesIn(data: string): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for (const folder of ['blobs', 'tmp'].filter((name) => existsSync(join(data, name)))) {
    const entries = await readdir(join(data, folder), { recursive: true, withFileTypes: true })
    for (const entry of entries.filter((one) => one.isFile())) {
      const path = join(entry.parentPath, entry.name)
      found.set(path.slice(data.length + 1), (await stat(path)).size)
    }
  }
  return found
}
