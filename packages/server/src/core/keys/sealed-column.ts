import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { CoreError } from '../errors.ts'
import type { Sealed } from '../schema.ts'
import type { Keyring } from './keyring.ts'

/*
 * A sealed value is version(1) ‖ epoch(4, big endian) ‖ nonce(12) ‖ AES-256-GCM ciphertext ‖ tag(16).
 * Its associated data name table, column, row and tenant, so that a value moved anywhere else does
 * not open.
 */
const VERSION = 1
const EPOCH_AT = 1
const NONCE_AT = 5
const CIPHERTEXT_AT = 17
const TAG_BYTES = 16
/** Bytes that sealing adds to a value. */
export const SEALED_COLUMN_OVERHEAD = CIPHERTEXT_AT + TAG_BYTES
/** JSON is padded to a multiple of this, so that lengths tell little of names. */
const PADDING = 32
/** Ids, and numbers of parts behind them. */
export const ROW_ID = /^[0-9a-f-]{36}(\.\d+)?$/

/** Seals and opens one column of one table. */
export interface SealedColumn<T> {
  /** @param row the row's id; @param tenant whom the row belongs to ('' where nobody in particular) */
  seal(row: string, tenant: string, value: T): Sealed<T>
  /** @throws CoreError integrity when the value is not what was sealed for exactly this place */
  open(row: string, tenant: string, sealed: Uint8Array): T
}

/** A column that holds bytes as they are. */
export function sealedBytes(keyring: Keyring, table: string): SealedColumn<Uint8Array> {
  return {
    seal: (row, tenant, value) => sealValue(keyring, { table, row, tenant }, value),
    open: (row, tenant, sealed) => openValue(keyring, { table, row, tenant }, sealed),
  }
}

/** A column that holds a JSON value. */
export function sealedJson<T>(keyring: Keyring, table: string): SealedColumn<T> {
  return {
    seal(row, tenant, value) {
      const text = Buffer.from(JSON.stringify(value))
      const padded = Buffer.alloc(Math.ceil(text.length / PADDING) * PADDING, ' ')
      text.copy(padded)
      return sealValue(keyring, { table, row, tenant }, padded) as Sealed<T>
    },
    open(row, tenant, sealed) {
      return JSON.parse(openValue(keyring, { table, row, tenant }, sealed).toString('utf8')) as T
    },
  }
}

/** The epoch that a value was sealed in, or undefined when it is no sealed value. */
export function epochInside(value: Uint8Array): number | undefined {
  // Whoever writes to the database may put anything there, also a text.
  if (!(value instanceof Uint8Array) || value.byteLength < SEALED_COLUMN_OVERHEAD) return undefined
  if (value[0] !== VERSION) return undefined
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).readUInt32BE(EPOCH_AT)
}

/** Where a value stands. */
interface Place {
  readonly table: string
  readonly row: string
  readonly tenant: string
}

function associatedData({ table, row, tenant }: Place): Buffer {
  return Buffer.from(`holdfast/1|${table}|sealed|${row}|${tenant}`)
}

function sealValue(keyring: Keyring, place: Place, plain: Uint8Array): Sealed<Uint8Array> {
  const epoch = keyring.current
  const head = Buffer.alloc(CIPHERTEXT_AT)
  head.writeUInt8(VERSION)
  head.writeUInt32BE(epoch.number, EPOCH_AT)
  randomBytes(CIPHERTEXT_AT - NONCE_AT).copy(head, NONCE_AT)
  const cipher = createCipheriv('aes-256-gcm', epoch.columnKey, head.subarray(NONCE_AT))
  cipher.setAAD(associatedData(place))
  const sealed = Buffer.concat([head, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  return sealed as Uint8Array as Sealed<Uint8Array>
}

function openValue(keyring: Keyring, place: Place, value: Uint8Array): Buffer {
  const epoch = epochInside(value)
  if (epoch === undefined) {
    throw new CoreError('integrity', `the sealed value of ${nameOf(place)} is malformed`)
  }
  const sealed = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  try {
    const { columnKey } = keyring.epoch(epoch)
    const nonce = sealed.subarray(NONCE_AT, CIPHERTEXT_AT)
    const decipher = createDecipheriv('aes-256-gcm', columnKey, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(associatedData(place))
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
    const plain = decipher.update(sealed.subarray(CIPHERTEXT_AT, sealed.length - TAG_BYTES))
    decipher.final()
    return plain
  } catch (error) {
    throw new CoreError('integrity', `the sealed value of ${nameOf(place)} does not belong there`, {
      cause: error,
    })
  }
}

/** For the log, where somebody has to find the row; what is no id is a secret of clients. */
function nameOf({ table, row }: Place): string {
  return ROW_ID.test(row) ? `${table} ${row}` : table
}
