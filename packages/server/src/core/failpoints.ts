/**
 * The steps at which the fault matrix (`npm run faults`) ends the server, lets a step fail or holds
 * it up, and the file of each below `src`. Nothing in the product arms one.
 */
export const FAILPOINTS = {
  // Receiving
  'form.file-begun': 'http/multipart.ts',
  'form.received': 'http/multipart.ts',
  // An object of the store
  'object.created': 'store/blobs/disk.ts',
  'object.writing': 'store/blobs/disk.ts',
  'object.written': 'store/blobs/disk.ts',
  'object.synced': 'store/blobs/disk.ts',
  'object.renamed': 'store/blobs/disk.ts',
  'object.durable': 'store/blobs/disk.ts',
  'object.removed': 'store/blobs/disk.ts',
  'object.trashed': 'store/blobs/disk.ts',
  'object.restored': 'store/blobs/disk.ts',
  'trash.removed': 'store/blobs/disk.ts',
  'unfinished.removed': 'store/blobs/disk.ts',
  // A blob
  'blob.staged': 'core/blobs/blobs.ts',
  'blob.inserted': 'core/blobs/blobs.ts',
  'blob.released': 'core/blobs/blobs.ts',
  'blob.unlinked': 'core/blobs/blobs.ts',
  'blob.emptied': 'core/blobs/blobs.ts',
  'copies.replaced': 'core/blobs/blobs.ts',
  'part.staged': 'core/blobs/received.ts',
  'part.put': 'core/blobs/received.ts',
  'parts.whole': 'core/blobs/received.ts',
  'content.replaced': 'core/company-files/chunks.ts',
  // Previews
  'preview.leased': 'core/previews/jobs.ts',
  'preview.made': 'core/previews/jobs.ts',
  'preview.kept': 'core/previews/jobs.ts',
  // A transaction
  'transaction.worked': 'store/database/sqlite.ts',
  'transaction.committed': 'store/database/sqlite.ts',
  'transaction.durable': 'store/database/sqlite.ts',
  // Work that no request waits for
  'sweep.deletions-finished': 'core/blobs/sweep.ts',
  'sweep.listed': 'core/blobs/sweep.ts',
  'sweep.trashed': 'core/blobs/sweep.ts',
  'upload.expired': 'core/company-files/uploads.ts',
  'records.purged': 'core/account-files/files.ts',
  // Keys
  'epoch.stored': 'core/keys/epochs.ts',
  'epoch.announced': 'core/keys/epochs.ts',
  'epoch.begun': 'core/keys/epochs.ts',
  'epoch.dropped': 'core/keys/epochs.ts',
  'rekey.noted': 'core/rekey/parts.ts',
  'rekey.copied': 'core/rekey/parts.ts',
  'rekey.swapped': 'core/rekey/parts.ts',
  'rekey.columns': 'core/rekey/columns.ts',
  'root.made': 'new-root.ts',
  'root.both': 'new-root.ts',
  'root.marked': 'new-root.ts',
  // A move to another place
  'move.copied': 'core/move/objects.ts',
  'move.kept': 'core/move/objects.ts',
  'move.rows': 'core/move/rows.ts',
  'move.retiring': 'move.ts',
  'move.retired': 'move.ts',
  'move.noted': 'move.ts',
  'move.marked': 'move.ts',
  // A start
  'start.locked': 'open.ts',
  'start.key-read': 'open.ts',
  'start.marked': 'open.ts',
  'start.keyring-opened': 'open.ts',
  'start.migrated': 'store/database/sqlite.ts',
  'start.checkpointed': 'store/database/sqlite.ts',
  'start.bound': 'open.ts',
  'new-file.written': 'store/new-file.ts',
  'new-file.linked': 'store/new-file.ts',
} as const satisfies Record<string, string>

export type Failpoint = keyof typeof FAILPOINTS

/** What happens at a step: nothing, an error that is thrown, or the wait for a promise. */
export type FailpointHook = (name: Failpoint) => Promise<void> | undefined

let armed: FailpointHook | undefined

/** Arms every failpoint of this process, or with undefined none. For the fault matrix and tests. */
export function armFailpoints(hook: FailpointHook | undefined): void {
  armed = hook
}

/** A named step. Costs a comparison while nothing is armed. */
export function failpoint(name: Failpoint): Promise<void> | undefined {
  return armed?.(name)
}
