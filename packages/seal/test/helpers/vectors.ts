/** The published test vectors of the age format, as `cctv-age` packs them. */
import { inflateSync } from 'node:zlib'
import * as published from 'cctv-age'

/** What a vector says shall happen. */
export type Outcome =
  | 'success'
  | 'no match'
  | 'HMAC failure'
  | 'header failure'
  | 'payload failure'
  | 'armor failure'

export interface Vector {
  readonly name: string
  readonly expect: Outcome
  /** SHA-256 in hex of all that may be released; absent where nothing may be. */
  readonly payload: string | undefined
  readonly identities: readonly string[]
  readonly passphrases: readonly string[]
  readonly armored: boolean
  readonly file: Uint8Array
}

export const vectors: readonly Vector[] = Object.entries(published)
  .filter(([name]) => name !== 'default')
  .map(([name, bytes]) => readVector(name, bytes))

function readVector(name: string, bytes: Uint8Array): Vector {
  const blank = Buffer.from(bytes).indexOf('\n\n')
  const fields = Buffer.from(bytes.subarray(0, blank)).toString().split('\n')
  const values = (key: string) =>
    fields.filter((line) => line.startsWith(`${key}: `)).map((line) => line.slice(key.length + 2))
  const body = bytes.subarray(blank + 2)
  return {
    name,
    expect: values('expect')[0] as Outcome,
    payload: values('payload')[0],
    identities: values('identity'),
    passphrases: values('passphrase'),
    armored: values('armored')[0] === 'yes',
    file: values('compressed')[0] === 'zlib' ? inflateSync(body) : body,
  }
}
