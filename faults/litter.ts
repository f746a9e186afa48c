import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { folderPaths } from '../packages/server/src/store/folder.ts'
import { filesBelow } from '../packages/server/test/helpers/store.ts'
import { LARGE } from './operations.ts'

/**
 * Leaves in a folder what crashes leave: an object without a row, an upload that never ended, an
 * object in the trash, and a blob whose removal was interrupted. No server may use the folder.
 *
 * @param removed the number of the large account file that was being removed
 */
export async function litter(data: string, removed: number): Promise<void> {
  const [object = ''] = await filesBelow(join(data, 'blobs'))
  for (const folder of ['blobs/zz', 'tmp', 'trash']) {
    await mkdir(join(data, folder), { recursive: true, mode: 0o700 })
  }
  await copyFile(join(data, 'blobs', object), join(data, 'blobs/zz/untracked.1'))
  await writeFile(join(data, 'tmp/unfinished'), 'x')
  await writeFile(join(data, 'trash/old.1'), 'x')
  change(
    data,
    `update blob set state = 'deleting'
       where id = (select blob_id from account_file where n = ${removed});
     update account_usage set files = files - 1, bytes = bytes - ${LARGE};
     delete from account_file where n = ${removed};`,
  )
}

/** Changes rows behind the back of everybody. */
export function change(data: string, sql: string): void {
  const database = new DatabaseSync(folderPaths(data).database)
  database.exec(sql)
  database.close()
}
