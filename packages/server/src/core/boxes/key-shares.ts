import type { Clock } from '../clock.ts'
import type { Database, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedJson } from '../keys/sealed-column.ts'
import type { KeyShare } from '../schema.ts'
import { requireCreator, requireMember } from './access.ts'
import type { BoxEvent, EventLog } from './events.ts'

export interface NewKeyShare extends KeyShare {
  /** By which the other half asks for it. */
  hash: string
}

/** Halves of box keys that members leave here, so that people they invite can put a key together. */
export interface BoxKeyShares {
  /** Adds a share inside a larger transaction. @throws CoreError key_share_taken */
  insert(writer: Writer, boxId: string, share: NewKeyShare): Promise<void>
  /** Replaces every earlier share. @throws CoreError not_member, not_creator, key_share_taken */
  replace(identityId: string, boxId: string, share: NewKeyShare): Promise<BoxEvent>

  /** Adds a share. @throws CoreError not_member, key_share_taken */
  add(identityId: string, boxId: string, share: NewKeyShare): Promise<void>
  /** @throws CoreError key_share_not_found, not_member */
  get(identityId: string, hash: string): Promise<{ boxId: string; share: KeyShare }>
  /** The share a member needs to invite others. @throws CoreError not_member, key_share_not_found */
  forInvitations(identityId: string, boxId: string): Promise<string>
}

export function createBoxKeyShares(
  database: Database,
  keyring: Keyring,
  clock: Clock,
  log: EventLog,
): BoxKeyShares {
  const column = sealedJson<KeyShare>(keyring, 'box_key_share')

  const insert: BoxKeyShares['insert'] = async (writer, boxId, share) => {
    const { hash, ...sealedShare } = share
    const { numInsertedOrUpdatedRows } = await writer
      .insertInto('box_key_share')
      .values({
        hash,
        box_id: boxId,
        sealed: column.seal(hash, boxId, sealedShare),
        created_at: clock(),
      })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirst()
    if (numInsertedOrUpdatedRows === 0n) {
      throw new CoreError('key_share_taken', 'there is a share of this hash already')
    }
  }

  return {
    insert,

    replace: (identityId, boxId, share) =>
      log.appending(async (writer) => {
        await requireCreator(writer, identityId, boxId)
        await writer.deleteFrom('box_key_share').where('box_id', '=', boxId).execute()
        await insert(writer, boxId, share)
        return log.append(writer, boxId, { type: 'state.key_share', senderId: identityId })
      }),

    add: (identityId, boxId, share) =>
      database.write(async (writer) => {
        await requireMember(writer, identityId, boxId)
        await insert(writer, boxId, share)
      }),

    async get(identityId, hash) {
      const row = await database.read
        .selectFrom('box_key_share')
        .selectAll()
        .where('hash', '=', hash)
        .executeTakeFirst()
      if (!row) throw new CoreError('key_share_not_found', 'no such share')
      await requireMember(database.read, identityId, row.box_id)
      return { boxId: row.box_id, share: column.open(hash, row.box_id, row.sealed) }
    },

    async forInvitations(identityId, boxId) {
      await requireMember(database.read, identityId, boxId)
      const rows = await database.read
        .selectFrom('box_key_share')
        .selectAll()
        .where('box_id', '=', boxId)
        .orderBy('created_at', 'desc')
        .execute()
      for (const row of rows) {
        const share = column.open(row.hash, boxId, row.sealed)
        if (share.encryptedInvitationKeyShare) return share.encryptedInvitationKeyShare
      }
      throw new CoreError('key_share_not_found', 'this box has no share for invitations')
    },
  }
}
