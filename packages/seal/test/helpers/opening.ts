import { createOpener, type FileKeyOpener, openHeader, SealError } from '../../src/index.ts'
import { slices } from './bytes.ts'

/** How an attempt to open a file ended: all that was let out, and the error if there was one. */
export interface Attempt {
  readonly released: Buffer
  readonly error: SealError | undefined
}

/** How to feed the file: bytes per piece, and whether the size of the plaintext is known before. */
export interface Feeding {
  readonly pieceSize?: number
  readonly plainBytes?: number
}

/** Opens a file as a stream, and keeps what was released even if it fails. */
export function attempt(
  file: Uint8Array,
  identities: readonly FileKeyOpener[],
  { pieceSize = file.length + 1, plainBytes }: Feeding = {},
): Attempt {
  const released: Uint8Array[] = []
  try {
    const { size, payloadKey } = openHeader(file, identities)
    const opener = createOpener(payloadKey, plainBytes)
    for (const piece of slices(file.subarray(size), pieceSize)) {
      released.push(...opener.update(piece))
    }
    released.push(...opener.end())
    return { released: Buffer.concat(released), error: undefined }
  } catch (error) {
    // Anything but a SealError is a defect of the package and must not pass for a refusal.
    if (!(error instanceof SealError)) throw error
    return { released: Buffer.concat(released), error }
  }
}
