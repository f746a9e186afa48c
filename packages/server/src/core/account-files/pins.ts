import { argon2 as argon2Callback, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import type { Clock } from '../clock.ts'
import type { Database, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedJson } from '../keys/sealed-column.ts'
import type { PinHash } from '../schema.ts'
import { generateKey, hashToken } from '../secrets.ts'

const argon2 = promisify(argon2Callback)

const KEY_LIFETIME_MS = 3600 * 1000
const MEMORY_KIB = 64 * 1024
const PASSES = 3
const TAG_BYTES = 32
const SALT_BYTES = 16
const SHAPE = /^[\x21-\x7e]{4,64}$/

/** Wrong PINs before a wait, from one address and from everywhere. */
const FAILURES_PER_ADDRESS = 5
const FAILURES_PER_ACCOUNT = 20
const LOCKED_MS = 15 * 60 * 1000
const EVERYWHERE = ''

/** Too many wrong PINs. */
export class PinLockedError extends CoreError {
  /** Milliseconds until the next attempt. */
  readonly waitMs: number

  constructor(waitMs: number) {
    super('pin_locked', 'too many wrong PINs')
    this.waitMs = waitMs
  }
}

/** The second secret of an account, which unlocks downloads for an hour. */
export interface Pins {
  /** Sets or replaces the PIN, and ends what the old one unlocked. @throws CoreError pin_malformed */
  set(identityId: string, pin: string): Promise<void>
  isSet(identityId: string): Promise<boolean>
  /**
   * Answers a key for the right PIN.
   *
   * @param address of the client: wrong PINs are limited per account and address
   * @throws CoreError pin_wrong (also when there is none), PinLockedError
   */
  unlock(
    identityId: string,
    pin: string,
    address: string,
  ): Promise<{ key: string; expiresAt: number }>
  /** Ends a key early. @throws CoreError pin_key_unknown */
  lock(identityId: string, key: string): Promise<void>
  isUnlocked(identityId: string, key: string): Promise<boolean>
}

export function createPins(database: Database, keyring: Keyring, clock: Clock): Pins {
  const column = sealedJson<PinHash>(keyring, 'pin')

  function addressIndex(identityId: string, address: string): Buffer {
    const text = `${identityId}|${address}`
    return createHmac('sha256', keyring.indexKey('address')).update(text).digest()
  }

  async function storedHash(identityId: string): Promise<PinHash | undefined> {
    const row = await database.read
      .selectFrom('pin')
      .select('sealed')
      .where('identity_id', '=', identityId)
      .executeTakeFirst()
    return row && column.open(identityId, identityId, row.sealed)
  }

  /**
   * Counts an attempt before the PIN is looked at, so that many at once are all counted.
   *
   * @throws PinLockedError
   */
  async function countAttempt(identityId: string, address: string): Promise<void> {
    const now = clock()
    const limits: [string, number][] = [
      [address, FAILURES_PER_ADDRESS],
      [EVERYWHERE, FAILURES_PER_ACCOUNT],
    ]
    await database.write(async (writer) => {
      await writer.deleteFrom('pin_failure').where('until', '<=', now).execute()
      for (const [from, most] of limits) {
        const index = addressIndex(identityId, from)
        const row = await writer
          .insertInto('pin_failure')
          .values({
            identity_id: identityId,
            address_index: index,
            failures: 1,
            until: now + LOCKED_MS,
          })
          .onConflict((conflict) =>
            conflict
              .columns(['identity_id', 'address_index'])
              .doUpdateSet((eb) => ({ failures: eb('pin_failure.failures', '+', 1) })),
          )
          .returning(['failures', 'until'])
          .executeTakeFirstOrThrow()
        if (row.failures > most) throw new PinLockedError(row.until - now)
      }
    })
  }

  async function forgetFailures(writer: Writer, identityId: string): Promise<void> {
    await writer.deleteFrom('pin_failure').where('identity_id', '=', identityId).execute()
  }

  return {
    async set(identityId, pin) {
      if (!SHAPE.test(pin)) {
        throw new CoreError('pin_malformed', 'a PIN has 4 to 64 visible ASCII characters')
      }
      const salt = randomBytes(SALT_BYTES).toString('base64')
      const hash = { salt, memory: MEMORY_KIB, passes: PASSES }
      const tag = (await tagOf(pin, hash)).toString('base64')
      const created_at = clock()
      await database.write(async (writer) => {
        const sealed = column.seal(identityId, identityId, { ...hash, tag })
        await writer
          .insertInto('pin')
          .values({ identity_id: identityId, sealed, created_at })
          .onConflict((conflict) =>
            conflict.column('identity_id').doUpdateSet({ sealed, created_at }),
          )
          .execute()
        await writer.deleteFrom('pin_key').where('identity_id', '=', identityId).execute()
        await forgetFailures(writer, identityId)
      })
    },

    isSet: async (identityId) => (await storedHash(identityId)) !== undefined,

    async unlock(identityId, pin, address) {
      await countAttempt(identityId, address)
      const hash = await storedHash(identityId)
      if (!hash || !timingSafeEqual(await tagOf(pin, hash), Buffer.from(hash.tag, 'base64'))) {
        throw new CoreError('pin_wrong', 'wrong PIN')
      }
      const key = generateKey()
      const now = clock()
      const expiresAt = now + KEY_LIFETIME_MS
      await database.write(async (writer) => {
        await forgetFailures(writer, identityId)
        await writer.deleteFrom('pin_key').where('expires_at', '<=', now).execute()
        await writer
          .insertInto('pin_key')
          .values({ key_hash: hashToken(key), identity_id: identityId, expires_at: expiresAt })
          .execute()
      })
      return { key, expiresAt }
    },

    async lock(identityId, key) {
      const { numDeletedRows } = await database.write((writer) =>
        writer
          .deleteFrom('pin_key')
          .where('key_hash', '=', hashToken(key))
          .where('identity_id', '=', identityId)
          .executeTakeFirst(),
      )
      if (numDeletedRows === 0n) throw new CoreError('pin_key_unknown', 'no such key')
    },

    async isUnlocked(identityId, key) {
      const row = await database.read
        .selectFrom('pin_key')
        .select('expires_at')
        .where('key_hash', '=', hashToken(key))
        .where('identity_id', '=', identityId)
        .where('expires_at', '>', clock())
        .executeTakeFirst()
      return row !== undefined
    },
  }
}

/** In the thread pool: the event loop is not held up. */
function tagOf(pin: string, hash: Omit<PinHash, 'tag'>): Promise<Buffer> {
  return argon2('argon2id', {
    message: pin,
    nonce: Buffer.from(hash.salt, 'base64'),
    parallelism: 1,
    tagLength: TAG_BYTES,
    memory: hash.memory,
    passes: hash.passes,
  })
}
