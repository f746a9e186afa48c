import type { StoredBlob } from './blobs.ts'
import type { Database } from './database.ts'
import { CoreError } from './errors.ts'

/** Files that clients encrypted: in boxes, and kept by people who were sent them. */
export interface BoxFiles {
  /**
   * A file that somebody may read now: she is a member of a box with a message that carries it.
   * A deleted message grants nothing.
   *
   * @throws CoreError file_not_found, file_forbidden
   */
  readable(identityId: string, fileId: string): Promise<StoredBlob>
}

export function createBoxFiles(database: Database): BoxFiles {
  return {
    async readable(identityId, fileId) {
      const links = await database.read
        .selectFrom('box_event')
        .innerJoin('blob', 'blob.id', 'box_event.blob_id')
        .leftJoin('box_member', (join) =>
          join
            .onRef('box_member.box_id', '=', 'box_event.box_id')
            .on('box_member.identity_id', '=', identityId),
        )
        .select(['blob.id', 'blob.size', 'box_member.identity_id as member'])
        .where('box_event.blob_id', '=', fileId)
        .where('blob.state', '=', 'stored')
        .execute()
      if (links.length === 0) throw new CoreError('file_not_found', 'no such file')
      const link = links.find(({ member }) => member !== null)
      if (!link) throw new CoreError('file_forbidden', 'not a member of a box with this file')
      return { id: link.id, size: link.size }
    },
  }
}
