import { createDecipheriv, scryptSync } from 'node:crypto'
import { type FileKeyOpener, SealError, type Stanza } from '../../src/index.ts'

const LARGEST_WORK_FACTOR = 20

/**
 * The scrypt recipient type, which the product does not have: many of the published vectors are about
 * it, and they test the header as well. Source: https://c2sp.org/age, "The scrypt recipient type".
 */
export function passphraseIdentity(passphrase: string): FileKeyOpener {
  return {
    unwrap(stanzas) {
      const stanza = stanzas.find(({ type }) => type === 'scrypt')
      if (!stanza) return undefined
      if (stanzas.length !== 1) throw malformed('not alone')
      return unwrap(stanza, passphrase)
    },
  }
}

function unwrap({ args, body }: Stanza, passphrase: string): Uint8Array | undefined {
  const [salt64, workFactor = '', ...more] = args
  const salt = Buffer.from(salt64 ?? '', 'base64')
  if (salt.length !== 16 || salt.toString('base64').replaceAll('=', '') !== salt64) {
    throw malformed('salt')
  }
  if (more.length > 0 || !/^[1-9][0-9]*$/.test(workFactor)) throw malformed('arguments')
  if (Number(workFactor) > LARGEST_WORK_FACTOR) throw malformed('work factor')
  if (body.length !== 32) throw malformed('body')
  const N = 2 ** Number(workFactor)
  const label = Buffer.concat([Buffer.from('age-encryption.org/v1/scrypt'), salt])
  const key = scryptSync(passphrase, label, 32, { N, r: 8, p: 1, maxmem: 256 * 8 * N })
  const decipher = createDecipheriv('chacha20-poly1305', key, Buffer.alloc(12), {
    authTagLength: 16,
  })
  decipher.setAuthTag(body.subarray(16))
  const fileKey = decipher.update(body.subarray(0, 16))
  try {
    decipher.final()
    return fileKey
  } catch {
    return undefined
  }
}

function malformed(what: string): SealError {
  return new SealError('header_malformed', `a bad scrypt stanza: ${what}`)
}
