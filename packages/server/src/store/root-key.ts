import type { Stats } from 'node:fs'
import { readFile, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { generateIdentity, type Identity, parseIdentity } from '@holdfast/seal'
import { writeNewFile } from './new-file.ts'

/** A root key that cannot be used; the message says what the operator should do. */
export class RootKeyError extends Error {
  override name = 'RootKeyError'
}

/**
 * Reads the root identity from its file.
 *
 * @param file an age identity file: comment lines and one identity
 * @param data the data folder, if there is one: it must not hold the file, as a copied folder must not
 *   carry its key
 * @returns undefined when there is no such file
 * @throws RootKeyError when the file lies inside the data folder, others can read it, or it holds no identity
 */
export async function readRootKey(
  file: string,
  data: string | undefined,
): Promise<Identity | undefined> {
  const info = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (data !== undefined) await refuseInside(file, data)
  if (!info) return undefined
  if ((info.mode & 0o077) !== 0 && !isCredential(info)) {
    throw new RootKeyError(`others can read the root key: run chmod 600 ${file}`)
  }
  const line = (await readFile(file, 'utf8'))
    .split('\n')
    .map((text) => text.trim())
    .find((text) => text !== '' && !text.startsWith('#'))
  try {
    return parseIdentity(line ?? '')
  } catch {
    throw new RootKeyError(`${file} holds no age identity`)
  }
}

/**
 * As systemd hands it to a service: root's own, and the one user who may read it besides stands in an
 * access list, which looks like a right of root's group.
 */
function isCredential({ mode, uid, gid }: Stats): boolean {
  return (mode & 0o777) === 0o440 && uid === 0 && gid === 0
}

/** Makes a root key and writes it, durably, where no file may be yet. */
export async function createRootKey(file: string, kind: 'x25519' | 'hybrid'): Promise<Identity> {
  const identity = generateIdentity(kind)
  await writeNewFile(
    file,
    `# Holdfast root key\n# public key: ${identity.recipient}\n${identity}\n`,
  )
  return identity
}

/** Also when only a link to the file, or to its folder, lies outside. */
async function refuseInside(file: string, data: string): Promise<void> {
  const folder = await realpath(data).catch(() => resolve(data))
  const parent = await realpath(dirname(resolve(file))).catch(() => dirname(resolve(file)))
  const target = await realpath(file).catch(() => join(parent, basename(file)))
  for (const place of [parent, dirname(target)]) {
    if (place !== folder && !place.startsWith(folder + sep)) continue
    throw new RootKeyError(
      `the root key ${file} lies inside the data folder: move it out, so that a copied folder does not carry its own key`,
    )
  }
}
