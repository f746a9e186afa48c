import type { StoredBlob } from '../blobs/blobs.ts'
import { requireLink } from '../blobs/links.ts'
import type { Database, Reader } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { savedFileColumn } from '../saved-files/saved-files.ts'
import { requireFileInBox } from './access.ts'

/** Files that clients encrypted: in boxes, and kept by people who were sent them. */
export interface BoxFiles {
  /**
   * A file that somebody may read now: she is a member of a box with a message that carries it, or
   * has saved it. A deleted message grants nothing.
   *
   * @throws CoreError file_not_found, file_forbidden, integrity
   */
  readable(identityId: string, fileId: string): Promise<StoredBlob>
}

export function createBoxFiles(database: Database, keyring: Keyring): BoxFiles {
  const reader = database.read
  const savedColumn = savedFileColumn(keyring)
  return {
    async readable(identityId, fileId) {
      const blob = await findFile(reader, fileId)
      const saved = await reader
        .selectFrom('saved_file')
        .select(['id', 'sealed'])
        .where('identity_id', '=', identityId)
        .where('blob_id', '=', fileId)
        .executeTakeFirst()
      if (saved) requireLink(fileId, savedColumn.open(saved.id, identityId, saved.sealed).blobId)
      else await requireFileInBox(reader, keyring, identityId, fileId)
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
