import type { Reader } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { type SealedColumn, sealedJson } from '../keys/sealed-column.ts'
import type { BoxText, EventContent, Row } from '../schema.ts'

export function boxColumn(keyring: Keyring): SealedColumn<BoxText> {
  return sealedJson(keyring, 'box')
}

export function openBoxText(keyring: Keyring, box: Row<'box'>): BoxText {
  return boxColumn(keyring).open(box.id, box.id, box.sealed)
}

/** @throws CoreError box_not_found */
export async function findBox(reader: Reader, boxId: string): Promise<Row<'box'>> {
  const row = await reader.selectFrom('box').selectAll().where('id', '=', boxId).executeTakeFirst()
  if (!row) throw new CoreError('box_not_found', 'no such box')
  return row
}

/** Undefined for a stranger and for a box that is not there. */
export async function membership(
  reader: Reader,
  identityId: string,
  boxId: string,
): Promise<Row<'box_member'> | undefined> {
  return reader
    .selectFrom('box_member')
    .selectAll()
    .where('box_id', '=', boxId)
    .where('identity_id', '=', identityId)
    .executeTakeFirst()
}

/** @throws CoreError not_member */
export async function requireMember(
  reader: Reader,
  identityId: string,
  boxId: string,
): Promise<Row<'box_member'>> {
  const member = await membership(reader, identityId, boxId)
  if (!member) throw new CoreError('not_member', 'not a member of this box')
  return member
}

/** @throws CoreError not_member, not_creator */
export async function requireCreator(
  reader: Reader,
  identityId: string,
  boxId: string,
): Promise<void> {
  await requireMember(reader, identityId, boxId)
  const box = await findBox(reader, boxId)
  if (box.creator_id !== identityId) throw new CoreError('not_creator', 'not the creator')
}

export function eventColumn(keyring: Keyring): SealedColumn<EventContent> {
  return sealedJson(keyring, 'box_event')
}

/**
 * @throws CoreError file_forbidden when no box that somebody is a member of now holds the file,
 *   integrity when a message carries it that was sent with another file
 */
export async function requireFileInBox(
  reader: Reader,
  keyring: Keyring,
  identityId: string,
  fileId: string,
): Promise<void> {
  const message = await reader
    .selectFrom('box_event')
    .innerJoin('box_member', 'box_member.box_id', 'box_event.box_id')
    .select(['box_event.id', 'box_event.box_id', 'box_event.sealed'])
    .where('box_event.blob_id', '=', fileId)
    .where('box_member.identity_id', '=', identityId)
    .limit(1)
    .executeTakeFirst()
  if (!message) throw new CoreError('file_forbidden', 'not a member of a box with this file')
  const { id, box_id, sealed } = message
  const content = sealed ? eventColumn(keyring).open(id, box_id, sealed) : undefined
  if (content?.type !== 'msg.file' || content.fileId !== fileId) {
    throw new CoreError('integrity', `event ${id} was not made for blob ${fileId}`)
  }
}
