import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Database } from '../database.ts'
import type { Acr } from '../schema.ts'
import { generateToken, hashToken } from '../secrets.ts'

const LIFETIME_MS = 24 * 3600 * 1000

/** A signed-in browser or client of a person. */
export interface Session {
  readonly id: string
  readonly identityId: string
  readonly acr: Acr
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

export interface Sessions {
  /** Opens a session and answers its access token, which is kept nowhere. */
  create(identityId: string, acr: Acr): Promise<{ token: string; session: Session }>
  /** The session of an access token, or undefined when it is unknown, ended or expired. */
  authenticate(token: string): Promise<Session | undefined>
  end(id: string): Promise<void>
}

export function createSessions(database: Database, clock: Clock): Sessions {
  return {
    async create(identityId, acr) {
      const token = generateToken()
      const now = clock()
      const session: Session = {
        id: randomUUID(),
        identityId,
        acr,
        expiresAt: now + LIFETIME_MS,
      }
      await database.write(async (writer) => {
        await writer.deleteFrom('session').where('expires_at', '<=', now).execute()
        await writer
          .insertInto('session')
          .values({
            id: session.id,
            token_hash: hashToken(token),
            identity_id: identityId,
            acr,
            created_at: now,
            expires_at: session.expiresAt,
          })
          .execute()
      })
      return { token, session }
    },

    async authenticate(token) {
      const row = await database.read
        .selectFrom('session')
        .select(['id', 'identity_id', 'acr', 'expires_at'])
        .where('token_hash', '=', hashToken(token))
        .where('expires_at', '>', clock())
        .executeTakeFirst()
      if (!row) return undefined
      return { id: row.id, identityId: row.identity_id, acr: row.acr, expiresAt: row.expires_at }
    },

    async end(id) {
      await database.write((writer) => writer.deleteFrom('session').where('id', '=', id).execute())
    },
  }
}
