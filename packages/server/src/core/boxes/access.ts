import type { Reader } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { type SealedColumn, sealedJson } from '../keys/sealed-column.ts'
import type { BoxText, Row } from '../schema.ts'

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

/** @throws CoreError file_forbidden when no box that somebody is a member of now holds the file */
export async function requireFileInBox(
  reader: Reader,
  identityId: string,
  fileId: string,
): Promise<void> {
  const link = await reader
    .selectFrom('box_event')
    .innerJoin('box_member', 'box_member.box_id', 'box_event.box_id')
    .select('box_event.id')
    .where('box_event.blob_id', '=', fileId)
    .where('box_member.identity_id', '=', identityId)
    .limit(1)
    .executeTakeFirst()
  if (!link) throw new CoreError('file_forbidden', 'not a member of a box with this file')
}
