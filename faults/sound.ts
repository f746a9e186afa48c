import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { folderPaths } from '../packages/server/src/store/folder.ts'
import { filesBelow } from '../packages/server/test/helpers/store.ts'

/** After a sweep: rows and objects belong together one to one, and nothing is half-made. */
export async function assertSound(data: string): Promise<void> {
  const database = new DatabaseSync(folderPaths(data).database, { timeout: 2000 })
  try {
    const links = ['box_event', 'saved_file', 'account_file', 'company_file', 'company_upload']
    const linked = links.map((table) => `select blob_id from ${table} where blob_id is not null`)
    const column = (sql: string) =>
      database
        .prepare(sql)
        .all()
        .map(({ v }) => String(v))
        .sort()
    assert.deepEqual(
      column(`select id as v from blob where id not in (${linked.join(' union ')})`),
      [],
      'every blob has a link',
    )
    assert.deepEqual(column(`select id as v from blob where state = 'deleting'`), [])
    const objects = column('select object as v from blob_part')
    const files = (await filesBelow(join(data, 'blobs'))).map((name) => `blobs/${name}`)
    assert.deepEqual(files, objects, 'every object has its row')
    assert.deepEqual(await filesBelow(join(data, 'tmp')), [], 'nothing is half-made')
  } finally {
    database.close()
  }
}
