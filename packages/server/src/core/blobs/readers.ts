import type { Clock } from '../clock.ts'

/** How long bytes that were overwritten wait for those who still read them. */
export const READERS_MS = 3600 * 1000

/** Who reads what in this process, so that bytes that are overwritten can wait for them. */
export function createReaders(clock: Clock) {
  const reading = new Map<string, number>()
  const waiting = new Map<string, number>()
  return {
    /** @returns ends the reading; answers whether it was the last one that bytes wait for */
    begin(blobId: string): () => boolean {
      reading.set(blobId, (reading.get(blobId) ?? 0) + 1)
      return () => {
        const left = (reading.get(blobId) ?? 1) - 1
        if (left > 0) {
          reading.set(blobId, left)
          return false
        }
        reading.delete(blobId)
        return waiting.delete(blobId)
      }
    },
    isRead: (blobId: string): boolean => reading.has(blobId),
    /** Lets the bytes of a blob that was overwritten wait, if somebody reads them. */
    outlive(blobId: string): boolean {
      if (reading.has(blobId)) waiting.set(blobId, clock() + READERS_MS)
      return reading.has(blobId)
    },
    areWaitedFor: (blobId: string): boolean => (waiting.get(blobId) ?? 0) > clock(),
  }
}
