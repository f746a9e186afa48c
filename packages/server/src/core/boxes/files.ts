import type { StoredBlob } from '../blobs/blobs.ts'
import type { Database, Reader } from '../database.ts'
import { CoreError } from '../errors.ts'
import { requireFileInBox } from './access.ts'

/** Files that clients encrypted: in boxes, and kept by people who were sent them. */
export interface BoxFiles {
  /**
   * A file that somebody may read now: she is a member of a box with a message that carries it, or
   * has saved it. A deleted message grants nothing.
   *
   * @throws CoreError file_not_found, file_forbidden
   */
  readable(identityId: string, fileId: string): Promise<StoredBlob>
}

export function createBoxFiles(database: Database): BoxFiles {
  const reader = database.read
  return {
    async readable(identityId, fileId) {
      const blob = await findFile(reader, fileId)
      const saved = await reader
        .selectFrom('saved_file')
        .select('id')
        .where('identity_id', '=', identityId)
        .where('blob_id', '=', fileId)
        .executeTakeFirst()
      if (!saved) await requireFileInBox(reader, identityId, fileId)
      return blob
    },
  }
}

/** Only blobs that a box or a saved file links to: others are no business of this dialect's clients. */
async function findFile(reader: Reader, fileId: string): Promise<StoredBlob> {
  const blob = await reader
    .selectFrom('blob')
    .select(['id', 'size'])
    .where('id', '=', fileId)
    .where('state', '=', 'stored')
    .where((eb) =>
      eb.or([
        eb.exists(eb.selectFrom('box_event').select('n').where('blob_id', '=', fileId)),
        eb.exists(eb.selectFrom('saved_file').select('n').where('blob_id', '=', fileId)),
      ]),
    )
    .executeTakeFirst()
  if (!blob) throw new CoreError('file_not_found', 'no such file')
  return blob
}
