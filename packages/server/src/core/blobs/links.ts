import { CoreError } from '../errors.ts'
import type { BlobLink } from '../schema.ts'

/**
 * Holds the blob that a row links to against the one that its sealed column says: somebody who can write
 * the database must not turn a link to another's content. Rows that were sealed before this was
 * recorded say nothing.
 *
 * @throws CoreError integrity
 */
export function requireLink(blobId: string | null, sealed: BlobLink['blobId']): void {
  if (sealed === undefined || sealed === blobId) return
  throw new CoreError(
    'integrity',
    `a row links to blob ${blobId}, which is not the one it was made for`,
  )
}
