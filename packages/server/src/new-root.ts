import { resolve } from 'node:path'
import type { Identity } from '@holdfast/seal'
import type { Config } from './config.ts'
import { failpoint } from './core/failpoints.ts'
import { openKeyring, resealKeyring } from './core/keys/keyring.ts'
import { markerOf, openStore, rootKeyOf } from './open.ts'
import { changeStoreMarker, requireSameVolume } from './store/blobs/volume.ts'
import { changeMarkerRoot, lockFolder, lockKeys } from './store/folder.ts'
import { createRootKey, readRootKey } from './store/root-key.ts'

/** The root key that a store has now. */
export interface ChangedRoot {
  /** Its public half. */
  readonly recipient: string
  readonly kind: Identity['kind']
  /** Absolute path. */
  readonly keyFile: string
  /** Whether the file was made. */
  readonly made: boolean
}

/**
 * Gives a store another root key, while no server runs on it. First every entry of the keyring is
 * sealed for both keys, then the marker names the new one, then every entry is sealed for that alone:
 * whenever this is interrupted, the key that the marker names opens the store, and the next run goes
 * on, also when the key file is not set to the new one yet.
 *
 * @param file of the new key; made when it is missing
 * @throws FolderError, RootKeyError, KeyringError
 */
export async function changeRootKey(config: Config, file: string): Promise<ChangedRoot> {
  const keyFile = resolve(file)
  await markerOf(config)
  const unlockFolder = await lockFolder(config.data)
  try {
    const unlockKeys = lockKeys(config.data)
    try {
      const known = await readRootKey(keyFile, config.data)
      const marker = await markerOf(config)
      const store = await openStore(config)
      if (config.blobs) await requireSameVolume(store, marker)
      if (known?.recipient.toString() === marker.root) {
        if (config.blobs) await changeStoreMarker(store, marker)
        await resealKeyring(store, known, [known])
        return changed(known, keyFile, false)
      }
      const root = await rootKeyOf(config, marker)
      const next = known ?? (await createRootKey(keyFile, config.recipient))
      await failpoint('root.made')
      await resealKeyring(store, root, [root, next])
      await failpoint('root.both')
      await openKeyring(store, next)
      await changeMarkerRoot(config.data, marker, next.recipient.toString())
      if (config.blobs) await changeStoreMarker(store, await markerOf(config))
      await failpoint('root.marked')
      await resealKeyring(store, next, [next])
      return changed(next, keyFile, known === undefined)
    } finally {
      unlockKeys()
    }
  } finally {
    unlockFolder()
  }
}

function changed({ recipient, kind }: Identity, keyFile: string, made: boolean): ChangedRoot {
  return { recipient: `${recipient}`, kind, keyFile, made }
}
