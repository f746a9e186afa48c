import { resolve } from 'node:path'
import type { Identity } from '@holdfast/seal'
import type { Config } from './config.ts'
import { failpoint } from './core/failpoints.ts'
import { openKeyring, resealKeyring } from './core/keys/keyring.ts'
import { markerOf, rootKeyOf, volumeOf } from './open.ts'
import { createRootKey, readRootKey } from './store/root-key.ts'
import type { Release } from './store/volume.ts'

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
 * @param onLost told when others may work on the store too: the process should end
 * @throws FolderError, RootKeyError, KeyringError
 */
export async function changeRootKey(
  config: Config,
  file: string,
  onLost: (error: Error) => void = () => undefined,
): Promise<ChangedRoot> {
  const keyFile = resolve(file)
  const volume = volumeOf(config)
  const held: Release[] = []
  try {
    await markerOf(config, volume)
    held.push(await volume.lockAlone(onLost))
    held.push(await volume.lockKeys(onLost))
    const known = await readRootKey(keyFile, volume.folder)
    const marker = await markerOf(config, volume)
    const store = await volume.store()
    await volume.join(marker, false)
    if (known?.recipient.toString() === marker.root) {
      await volume.changeRoot(marker, marker.root)
      await resealKeyring(store, known, [known])
      return changed(known, keyFile, false)
    }
    const root = await rootKeyOf(config, volume, marker)
    const next = known ?? (await createRootKey(keyFile, config.recipient))
    await failpoint('root.made')
    await resealKeyring(store, root, [root, next])
    await failpoint('root.both')
    await openKeyring(store, next)
    await volume.changeRoot(marker, next.recipient.toString())
    await failpoint('root.marked')
    await resealKeyring(store, next, [next])
    return changed(next, keyFile, known === undefined)
  } finally {
    for (const release of held.reverse()) await release()
    await volume.close()
  }
}

function changed({ recipient, kind }: Identity, keyFile: string, made: boolean): ChangedRoot {
  return { recipient: `${recipient}`, kind, keyFile, made }
}
