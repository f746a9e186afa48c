import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Database, Reader, Writer } from '../database.ts'
import type { Keyring } from '../keys/keyring.ts'
import type { Identities, Identity } from '../people/identities.ts'
import type { BoxEventType, EncryptedMessage, EventContent, Row } from '../schema.ts'
import { eventColumn } from './access.ts'

/** What members see of a box's history. */
export const VISIBLE_EVENTS = [
  'create',
  'msg.text',
  'msg.file',
  'member.join',
  'member.leave',
  'state.access_mode',
  'state.key_share',
] as const satisfies readonly BoxEventType[]

/** One entry of a box's history. */
export interface BoxEvent {
  readonly n: number
  readonly id: string
  readonly boxId: string
  readonly type: BoxEventType
  readonly sender: Identity | undefined
  readonly referrerId: string | null
  readonly content: EventContent | undefined
  /** Of a message that was deleted: by whom and when (milliseconds since the epoch). */
  readonly deleted: { at: number; by: Identity | undefined } | undefined
  readonly createdAt: number
}

export interface NewEvent {
  type: BoxEventType
  senderId: string
  referrerId?: string
  content?: EventContent
  /** Bytes that count towards the box's used space. */
  size?: number
}

export interface Page {
  /** Rows to pass over. */
  offset: number
  /** At most so many rows; 0 is no limit. */
  limit: number
}

/** The history of boxes: appended to, never rewritten but for deleted messages. */
export interface EventLog {
  append(writer: Writer, boxId: string, event: NewEvent): Promise<Row<'box_event'>>
  /** Takes the content out of a message and leaves who deleted it and when. */
  erase(writer: Writer, row: Row<'box_event'>, deletedBy: string): Promise<void>
  /** Puts another text into a text message. */
  rewrite(
    writer: Writer,
    row: Row<'box_event'>,
    message: EncryptedMessage,
    size: number,
  ): Promise<void>
  find(reader: Reader, boxId: string, eventId: string): Promise<Row<'box_event'> | undefined>
  /** Newest first. */
  list(reader: Reader, boxId: string, filter: EventFilter, page: Page): Promise<BoxEvent[]>
  count(reader: Reader, boxId: string, filter: EventFilter): Promise<number>
  /** With sender and content. */
  expand(row: Row<'box_event'>): Promise<BoxEvent>
  /** Runs a transaction that appends one event, and answers the event. */
  appending(work: (writer: Writer) => Promise<Row<'box_event'>>): Promise<BoxEvent>
}

/** All that members see, or only files that were not deleted. */
export type EventFilter = 'visible' | 'files'

export function createEventLog(
  database: Database,
  keyring: Keyring,
  clock: Clock,
  identities: Identities,
): EventLog {
  const column = eventColumn(keyring)

  function contentOf(row: Row<'box_event'>): EventContent | undefined {
    return row.sealed ? column.open(row.id, row.box_id, row.sealed) : undefined
  }

  async function expandAll(rows: readonly Row<'box_event'>[]): Promise<BoxEvent[]> {
    const people = await identities.getMany(
      rows.flatMap((row) => [row.sender_id, ...(row.deleted_by ? [row.deleted_by] : [])]),
    )
    return rows.map((row) => ({
      n: row.n,
      id: row.id,
      boxId: row.box_id,
      type: row.type,
      sender: people.get(row.sender_id),
      referrerId: row.referrer_id,
      content: contentOf(row),
      deleted:
        row.deleted_at === null
          ? undefined
          : { at: row.deleted_at, by: people.get(row.deleted_by ?? '') },
      createdAt: row.created_at,
    }))
  }

  async function expand(row: Row<'box_event'>): Promise<BoxEvent> {
    const [event] = await expandAll([row])
    return event as BoxEvent
  }

  return {
    async append(writer, boxId, { type, senderId, referrerId, content, size = 0 }) {
      const id = randomUUID()
      const row = await writer
        .insertInto('box_event')
        .values({
          id,
          box_id: boxId,
          type,
          sender_id: senderId,
          referrer_id: referrerId ?? null,
          blob_id: content?.type === 'msg.file' ? content.fileId : null,
          size,
          sealed: content ? column.seal(id, boxId, content) : null,
          created_at: clock(),
          deleted_at: null,
          deleted_by: null,
        })
        .returningAll()
        .executeTakeFirstOrThrow()
      if (isVisible(type)) {
        await writer.updateTable('box').set({ last_event: row.n }).where('id', '=', boxId).execute()
      }
      if (size > 0) await addUsedBytes(writer, boxId, size)
      return row
    },

    async erase(writer, row, deletedBy) {
      await writer
        .updateTable('box_event')
        .set({ sealed: null, blob_id: null, size: 0, deleted_at: clock(), deleted_by: deletedBy })
        .where('n', '=', row.n)
        .execute()
      await forgetEdits(writer, row)
      await addUsedBytes(writer, row.box_id, -row.size)
    },

    async rewrite(writer, row, message, size) {
      await forgetEdits(writer, row)
      const sealed = column.seal(row.id, row.box_id, {
        type: 'msg.text',
        ...message,
        editedAt: clock(),
      })
      await writer.updateTable('box_event').set({ sealed, size }).where('n', '=', row.n).execute()
      await addUsedBytes(writer, row.box_id, size - row.size)
    },

    find: (reader, boxId, eventId) =>
      reader
        .selectFrom('box_event')
        .selectAll()
        .where('id', '=', eventId)
        .where('box_id', '=', boxId)
        .executeTakeFirst(),

    async list(reader, boxId, filter, { offset, limit }) {
      const rows = await filtered(reader, boxId, filter)
        .selectAll()
        .orderBy('n', 'desc')
        .limit(limit === 0 ? Number.MAX_SAFE_INTEGER : limit)
        .offset(offset)
        .execute()
      return expandAll(rows)
    },

    async count(reader, boxId, filter) {
      const { count } = await filtered(reader, boxId, filter)
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow()
      return count
    },

    expand,
    appending: async (work) => expand(await database.write(work)),
  }
}

function isVisible(type: BoxEventType): boolean {
  return (VISIBLE_EVENTS as readonly BoxEventType[]).includes(type)
}

function filtered(reader: Reader, boxId: string, filter: EventFilter) {
  const events = reader.selectFrom('box_event').where('box_id', '=', boxId)
  return filter === 'files'
    ? events.where('type', '=', 'msg.file').where('deleted_at', 'is', null)
    : events.where('type', 'in', VISIBLE_EVENTS)
}

/** What a message said between its first and its last wording. */
async function forgetEdits(writer: Writer, row: Row<'box_event'>): Promise<void> {
  await writer
    .updateTable('box_event')
    .set({ sealed: null })
    .where('box_id', '=', row.box_id)
    .where('referrer_id', '=', row.id)
    .where('type', '=', 'msg.edit')
    .execute()
}

/** A box that was never written to has no used space, rather than none. */
async function addUsedBytes(writer: Writer, boxId: string, bytes: number): Promise<void> {
  await writer
    .updateTable('box')
    .set((eb) => ({ used_bytes: eb(eb.fn.coalesce('used_bytes', eb.lit(0)), '+', bytes) }))
    .where('id', '=', boxId)
    .execute()
}
