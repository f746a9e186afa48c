import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Database, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedJson } from '../keys/sealed-column.ts'
import { prepare } from '../prepared.ts'
import { generateToken, hashToken } from '../secrets.ts'

/** Last use is written at most this often per token: it serves people, not accounting. */
const LAST_USE_RESOLUTION_MS = 60_000

/** A named, revocable Bearer token of a person or an application. */
export interface ApiToken {
  readonly id: string
  readonly identityId: string
  readonly name: string
  /** Milliseconds since the epoch, like all times here. */
  readonly createdAt: number
  readonly lastUsedAt: number | null
  readonly expiresAt: number | null
}

export interface ApiTokens {
  /** Answers the token itself, which is shown once and kept nowhere. */
  create(
    identityId: string,
    name: string,
    expiresAt?: number,
  ): Promise<{ token: string; id: string }>
  /** The same inside a larger transaction. */
  insert(
    writer: Writer,
    identityId: string,
    name: string,
    expiresAt?: number,
  ): Promise<{ token: string; id: string }>
  /** Newest first. */
  list(identityId: string): Promise<ApiToken[]>
  /** @throws CoreError token_not_found */
  revoke(id: string): Promise<void>
  /** The identity behind a token, or undefined when it is unknown, revoked or expired. */
  authenticate(token: string): Promise<{ id: string; identityId: string } | undefined>
}

export function createApiTokens(database: Database, keyring: Keyring, clock: Clock): ApiTokens {
  const column = sealedJson<{ name: string }>(keyring, 'api_token')
  const byHash = prepare((slot: (name: 'hash' | 'now') => never) =>
    database.read
      .selectFrom('api_token')
      .select(['id', 'identity_id', 'last_used_at'])
      .where('token_hash', '=', slot('hash'))
      .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', slot('now'))])),
  )

  const insert: ApiTokens['insert'] = async (writer, identityId, name, expiresAt) => {
    const id = randomUUID()
    const token = generateToken()
    await writer
      .insertInto('api_token')
      .values({
        id,
        identity_id: identityId,
        token_hash: hashToken(token),
        sealed: column.seal(id, identityId, { name }),
        created_at: clock(),
        last_used_at: null,
        expires_at: expiresAt ?? null,
      })
      .execute()
    return { token, id }
  }

  /** A full disk must not keep anybody from reading: then the last use stays unknown. */
  async function recordUse(id: string, now: number): Promise<void> {
    try {
      await database.write((writer) =>
        writer.updateTable('api_token').set({ last_used_at: now }).where('id', '=', id).execute(),
      )
    } catch (error) {
      if (!(error instanceof CoreError) || error.code !== 'storage_full') throw error
    }
  }

  return {
    create: (identityId, name, expiresAt) =>
      database.write((writer) => insert(writer, identityId, name, expiresAt)),
    insert,

    async list(identityId) {
      const rows = await database.read
        .selectFrom('api_token')
        .selectAll()
        .where('identity_id', '=', identityId)
        .orderBy('created_at', 'desc')
        .orderBy('id')
        .execute()
      return rows.map((row) => ({
        id: row.id,
        identityId,
        name: column.open(row.id, identityId, row.sealed).name,
        createdAt: row.created_at,
        lastUsedAt: row.last_used_at,
        expiresAt: row.expires_at,
      }))
    },

    async revoke(id) {
      const { numDeletedRows } = await database.write((writer) =>
        writer.deleteFrom('api_token').where('id', '=', id).executeTakeFirst(),
      )
      if (numDeletedRows === 0n) throw new CoreError('token_not_found', 'no such token')
    },

    async authenticate(token) {
      const now = clock()
      const [row] = await byHash(database.read, { hash: hashToken(token), now })
      if (!row) return undefined
      if (now - (row.last_used_at ?? 0) >= LAST_USE_RESOLUTION_MS) await recordUse(row.id, now)
      return { id: row.id, identityId: row.identity_id }
    },
  }
}
