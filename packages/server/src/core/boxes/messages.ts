import type { Blobs, StagedBlob } from '../blobs/blobs.ts'
import type { Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import type { Quotas } from '../saved-files/quotas.ts'
import type { EncryptedMessage, Row } from '../schema.ts'
import { findBox, openBoxText, requireMember } from './access.ts'
import type { BoxEvent, EventLog } from './events.ts'

/** What members say to each other in a box. */
export interface BoxMessages {
  /** @throws CoreError not_member, quota_exceeded */
  sendText(identityId: string, boxId: string, message: EncryptedMessage): Promise<BoxEvent>
  /**
   * Puts staged bytes into a box, or drops them when that fails.
   *
   * @throws CoreError not_member, file_empty, quota_exceeded
   */
  sendFile(
    identityId: string,
    boxId: string,
    file: StagedBlob,
    message: { encrypted: string; publicKey: string | undefined },
  ): Promise<BoxEvent>
  /**
   * Puts another text in the place of one's own; what stood there before is forgotten.
   *
   * @throws CoreError not_member, event_not_found, event_gone, not_author, quota_exceeded
   */
  editText(
    identityId: string,
    boxId: string,
    eventId: string,
    message: EncryptedMessage,
  ): Promise<BoxEvent>
  /**
   * Deletes a message; a file goes with its last link.
   *
   * @throws CoreError not_member, event_not_found, event_gone, not_author
   */
  deleteMessage(identityId: string, boxId: string, eventId: string): Promise<BoxEvent>
}

export function createBoxMessages(
  keyring: Keyring,
  blobs: Blobs,
  log: EventLog,
  quotas: Quotas,
): BoxMessages {
  /** A message that is still there. */
  async function findMessage(
    writer: Writer,
    boxId: string,
    eventId: string,
  ): Promise<Row<'box_event'>> {
    const message = await log.find(writer, boxId, eventId)
    if (!message) throw new CoreError('event_not_found', 'no such event')
    if (message.type !== 'msg.text' && message.type !== 'msg.file') {
      throw new CoreError('not_author', 'not a message')
    }
    if (message.deleted_at !== null) throw new CoreError('event_gone', 'deleted already')
    return message
  }

  return {
    sendText: (identityId, boxId, message) =>
      log.appending(async (writer) => {
        await requireMember(writer, identityId, boxId)
        const size = Buffer.byteLength(message.encrypted)
        const row = await log.append(writer, boxId, {
          type: 'msg.text',
          senderId: identityId,
          content: { type: 'msg.text', ...message },
          size,
        })
        const { creator_id } = await findBox(writer, boxId)
        await quotas.requireRoom(writer, creator_id, size)
        return row
      }),

    async sendFile(identityId, boxId, file, { encrypted, publicKey }) {
      const row = await blobs.keep(file, async (writer) => {
        if (file.size === 0) throw new CoreError('file_empty', 'an empty file')
        await requireMember(writer, identityId, boxId)
        const box = await findBox(writer, boxId)
        const event = await log.append(writer, boxId, {
          type: 'msg.file',
          senderId: identityId,
          content: {
            type: 'msg.file',
            fileId: file.id,
            encrypted,
            publicKey: publicKey ?? openBoxText(keyring, box).publicKey,
          },
          size: file.size,
        })
        await quotas.requireRoom(writer, box.creator_id, file.size)
        return event
      })
      return log.expand(row)
    },

    editText: (identityId, boxId, eventId, message) =>
      log.appending(async (writer) => {
        await requireMember(writer, identityId, boxId)
        const edited = await findMessage(writer, boxId, eventId)
        if (edited.type !== 'msg.text' || edited.sender_id !== identityId) {
          throw new CoreError('not_author', "only one's own text can be edited")
        }
        const size = Buffer.byteLength(message.encrypted)
        await log.rewrite(writer, edited, message, size)
        const { creator_id } = await findBox(writer, boxId)
        await quotas.requireRoom(writer, creator_id, Math.max(0, size - edited.size))
        return log.append(writer, boxId, {
          type: 'msg.edit',
          senderId: identityId,
          referrerId: eventId,
          content: { type: 'msg.edit', ...message },
        })
      }),

    async deleteMessage(identityId, boxId, eventId) {
      const row = await blobs.unlinking(async (writer, release) => {
        await requireMember(writer, identityId, boxId)
        const message = await findMessage(writer, boxId, eventId)
        const box = await findBox(writer, boxId)
        if (message.sender_id !== identityId && box.creator_id !== identityId) {
          throw new CoreError('not_author', 'neither the author nor the creator of the box')
        }
        await log.erase(writer, message, identityId)
        if (message.blob_id) await release(message.blob_id)
        return log.append(writer, boxId, {
          type: 'msg.delete',
          senderId: identityId,
          referrerId: eventId,
        })
      })
      return log.expand(row)
    },
  }
}
