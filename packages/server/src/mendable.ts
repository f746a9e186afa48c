import { ConfigError } from './config.ts'
import { ScrubError } from './core/checks/scrub.ts'
import { KeyringError } from './core/keys/keyring.ts'
import { TargetError } from './core/move/objects.ts'
import { RowsError } from './core/move/rows.ts'
import { BucketError } from './store/blobs/s3/place.ts'
import { DatabaseError } from './store/database/database-error.ts'
import { FolderError } from './store/folder.ts'
import { RootKeyError } from './store/root-key.ts'

const KINDS = [
  ConfigError,
  DatabaseError,
  FolderError,
  BucketError,
  RootKeyError,
  KeyringError,
  ScrubError,
  RowsError,
  TargetError,
]

/**
 * Whether a start failed for a reason that the operator mends, by what the message says: a setting,
 * a folder, a database, a bucket, a key, or what the operating system refused (a port that is taken, missing permission).
 * Anything else is a bug and is shown whole.
 */
export function isMendable(error: unknown): error is Error {
  const refusedBySystem = error instanceof Error && 'syscall' in error
  return refusedBySystem || KINDS.some((kind) => error instanceof kind)
}
