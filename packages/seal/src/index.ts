/**
 * Seals and opens age files, version 1 (https://c2sp.org/age): X25519 and hybrid recipients, streams
 * and ranges. Synchronous; `Uint8Array` in and out (or a subclass such as `Buffer`: copy with
 * `Uint8Array.from`, not with `slice`). All sizes are in bytes.
 *
 * @module
 */
export {
  type Header,
  headerSize,
  type OpenedHeader,
  openHeader,
  type PayloadKey,
  sealHeader,
} from './envelope.ts'
export { SealError, type SealErrorCode } from './errors.ts'
export { HEADER_LIMITS, type HeaderLimits, type Stanza } from './header.ts'
export {
  CHUNK_SIZE,
  type ChunkRange,
  chunkCount,
  chunkRange,
  openChunk,
  plainSize,
  SEALED_CHUNK_SIZE,
  sealChunk,
  sealedSize,
} from './payload.ts'
export type { FileKeyOpener, Identity, KeyKind, Recipient } from './recipient.ts'
export { generateIdentity, parseIdentity, parseRecipient } from './recipients.ts'
export { createOpener, createSealer, type Opener, open, type Sealer, seal } from './stream.ts'
