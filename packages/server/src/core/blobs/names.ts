import { randomBytes } from 'node:crypto'

/** The store's folder of all parts. */
export const BLOB_FOLDER = 'blobs/'

/** The store's name of a part. */
export function partName(blobId: string, number: number): string {
  return `${BLOB_FOLDER}${blobId.slice(0, 2)}/${blobId}.${number}`
}

/**
 * Its name for one more copy of a part, which is not made in the place of another. Blob and number
 * stand in it for those who have nothing but the files.
 */
export function copyName(blobId: string, number: number): string {
  return `${partName(blobId, number)}.${randomBytes(8).toString('hex')}`
}
