import { CoreError } from '../errors.ts'
import type { Row } from '../schema.ts'
import type { UploadClaim } from './records.ts'

/** What all chunks of one upload have in common. */
export interface Totals {
  readonly chunks: number
  /** Bytes; null when nobody has said. */
  readonly size: number | null
}

/**
 * What is known of an upload together with what one more chunk says: totals are compared where both
 * give them, and an upload of which nobody says otherwise has one chunk.
 *
 * @throws CoreError upload_mismatch when they contradict each other or the chunk's number
 */
export function agreedTotals(
  upload: Pick<Row<'company_upload'>, 'total_chunks' | 'total_size'>,
  claim: UploadClaim,
): Totals {
  if (!agree(upload.total_chunks, claim.totalChunks)) {
    throw mismatch(`${upload.total_chunks} chunks were announced, not ${claim.totalChunks}`)
  }
  if (!agree(upload.total_size, claim.totalSize)) {
    throw mismatch(`${upload.total_size} bytes were announced, not ${claim.totalSize}`)
  }
  const chunks = upload.total_chunks ?? claim.totalChunks ?? 1
  const number = numberOf(claim)
  if (number > chunks) throw mismatch(`there is no chunk ${number} of ${chunks}`)
  return { chunks, size: upload.total_size ?? claim.totalSize ?? null }
}

/** @throws CoreError upload_mismatch when the chunks together are not as large as was announced */
export function requireTotal(received: number, { size }: Totals): void {
  if (size === null || size === received) return
  throw mismatch(`the chunks have ${received} bytes, ${size} were announced`)
}

/** Whether what a chunk says can be said of something with these totals. */
export function fits(claim: UploadClaim, chunks: number | null, size: number | null): boolean {
  return agree(chunks, claim.totalChunks) && agree(size, claim.totalSize)
}

/** Of the chunk that a request is about; one without a number is the first. */
export function numberOf(claim: UploadClaim): number {
  return claim.number ?? 1
}

/** The chunks of an application's overwrite: one that says nothing of chunks is whole. */
export function overwriteChunks(claim: UploadClaim, before: number | null): number {
  return claim.totalChunks ?? (numberOf(claim) > 1 ? (before ?? 1) : 1)
}

function agree(known: number | null, given: number | undefined): boolean {
  return known === null || given === undefined || known === given
}

function mismatch(message: string): CoreError {
  return new CoreError('upload_mismatch', message)
}
