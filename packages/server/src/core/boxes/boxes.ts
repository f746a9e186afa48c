import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type { Blobs } from '../blobs/blobs.ts'
import type { Clock } from '../clock.ts'
import type { Database, Reader, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import type { Companies } from '../people/companies.ts'
import type { Identities, Identity } from '../people/identities.ts'
import type { AccessMode, Row } from '../schema.ts'
import { boxColumn, findBox, membership, requireCreator, requireMember } from './access.ts'
import {
  type BoxEvent,
  type EventFilter,
  type EventLog,
  type Page,
  VISIBLE_EVENTS,
} from './events.ts'
import type { BoxKeyShares, NewKeyShare } from './key-shares.ts'

/** A box as one of its members sees it. */
export interface Box {
  readonly id: string
  readonly ownerOrgId: string
  readonly title: string
  readonly publicKey: string
  readonly accessMode: AccessMode
  /** Who made it: its only administrator. */
  readonly creator: Identity
  readonly lastEvent: BoxEvent
  /** Events by others since the member last said that she saw them. */
  readonly newEvents: number
  readonly muted: boolean
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

export interface NewBox {
  title: string
  publicKey: string
  ownerOrgId?: string | undefined
  keyShare?: NewKeyShare | undefined
}

/** What somebody who is no member may know of a box whose key share she can name. */
export interface PublicBox {
  readonly title: string
  readonly ownerOrgId: string
  readonly creator: Identity
}

export interface Boxes {
  /** @throws CoreError not_company_manager when the owner is a company the creator does not lead; key_share_taken */
  create(creatorId: string, box: NewBox): Promise<Box>
  /** @throws CoreError box_not_found, not_member (could join), no_access (could not) */
  get(identityId: string, boxId: string): Promise<Box>
  /** @throws CoreError key_share_not_found, no_access when the share is another box's */
  getPublic(boxId: string, shareHash: string): Promise<PublicBox>
  /** The boxes somebody is a member of, the one with the newest event first. */
  listJoined(identityId: string, ownerOrgId: string, page: Page): Promise<Box[]>
  countJoined(identityId: string, ownerOrgId: string): Promise<number>
  /** Removes a box with all it holds. @throws CoreError box_not_found, not_creator */
  remove(identityId: string, boxId: string): Promise<void>
  /** @throws CoreError not_member */
  members(identityId: string, boxId: string): Promise<{ members: Identity[]; creatorId: string }>

  /** Says that somebody saw everything so far. @throws CoreError not_member */
  acknowledge(identityId: string, boxId: string): Promise<void>
  /** @throws CoreError not_member */
  setMuted(identityId: string, boxId: string, muted: boolean): Promise<void>

  /** Newest first. @throws CoreError not_member */
  events(identityId: string, boxId: string, filter: EventFilter, page: Page): Promise<BoxEvent[]>
  /** @throws CoreError not_member */
  countEvents(identityId: string, boxId: string, filter: EventFilter): Promise<number>
  /** @throws CoreError not_member */
  requireMember(identityId: string, boxId: string): Promise<void>
  /** Who administers a box, or undefined for a box that is not there. */
  creatorOf(boxId: string): Promise<string | undefined>

  /** @throws CoreError box_not_found, already_member, no_access */
  join(identityId: string, boxId: string): Promise<BoxEvent>
  /** @throws CoreError not_member, creator_stays */
  leave(identityId: string, boxId: string): Promise<BoxEvent>
  /** @throws CoreError not_member, not_creator */
  setAccessMode(identityId: string, boxId: string, mode: AccessMode): Promise<BoxEvent>
}

const BOXES_WITHOUT_BOUND = Number.MAX_SAFE_INTEGER

export function createBoxes(parts: {
  database: Database
  keyring: Keyring
  clock: Clock
  identities: Identities
  companies: Companies
  blobs: Blobs
  log: EventLog
  keyShares: BoxKeyShares
}): Boxes {
  const { database, keyring, clock, identities, companies, blobs, log, keyShares } = parts
  const column = boxColumn(keyring)

  async function addMember(writer: Writer, boxId: string, identityId: string): Promise<void> {
    await writer
      .insertInto('box_member')
      .values({
        box_id: boxId,
        identity_id: identityId,
        muted: 0,
        seen_event: 0,
        joined_at: clock(),
      })
      .execute()
  }

  /** Boxes as `identityId` sees them, in the order of `rows`. */
  async function expand(identityId: string, rows: readonly Row<'box'>[]): Promise<Box[]> {
    const reader = database.read
    const creators = await identities.getMany(rows.map((row) => row.creator_id))
    const boxes: Box[] = []
    for (const row of rows) {
      const member = await membership(reader, identityId, row.id)
      const lastRow = await reader
        .selectFrom('box_event')
        .selectAll()
        .where('n', '=', row.last_event)
        .executeTakeFirst()
      const creator = creators.get(row.creator_id)
      // A box that goes while it is listed is left out.
      if (!member || !lastRow || !creator) continue
      boxes.push({
        id: row.id,
        ownerOrgId: row.owner_org_id,
        ...column.open(row.id, row.id, row.sealed),
        accessMode: row.access_mode,
        creator,
        lastEvent: await log.expand(lastRow),
        newEvents: await countNew(reader, identityId, row.id, member.seen_event),
        muted: member.muted === 1,
        createdAt: row.created_at,
      })
    }
    return boxes
  }

  function joined(reader: Reader, identityId: string, ownerOrgId: string) {
    return reader
      .selectFrom('box')
      .innerJoin('box_member', 'box_member.box_id', 'box.id')
      .where('box_member.identity_id', '=', identityId)
      .where('box.owner_org_id', '=', ownerOrgId)
  }

  async function get(identityId: string, boxId: string): Promise<Box> {
    const row = await findBox(database.read, boxId)
    const [box] = await expand(identityId, [row])
    if (box) return box
    throw row.access_mode === 'public'
      ? new CoreError('not_member', 'not a member of this box')
      : new CoreError('no_access', 'this box is closed')
  }

  return {
    async create(creatorId, { title, publicKey, ownerOrgId, keyShare }) {
      const self = await identities.selfOrganisation()
      const owner = ownerOrgId ?? self
      const id = randomUUID()
      await database.write(async (writer) => {
        if (owner !== self) {
          const role = (await companies.memberOf(writer, owner, creatorId))?.role
          if (role !== 'owner' && role !== 'manager') {
            throw new CoreError('not_company_manager', 'not a manager of the owner')
          }
        }
        await writer
          .insertInto('box')
          .values({
            id,
            owner_org_id: owner,
            creator_id: creatorId,
            access_mode: 'limited',
            last_event: 0,
            used_bytes: null,
            sealed: column.seal(id, id, { title, publicKey }),
            created_at: clock(),
          })
          .execute()
        await addMember(writer, id, creatorId)
        await log.append(writer, id, {
          type: 'create',
          senderId: creatorId,
          content: { type: 'create', ownerOrgId: owner, publicKey, title },
        })
        if (keyShare) await keyShares.insert(writer, id, keyShare)
      })
      return get(creatorId, id)
    },

    get,

    async getPublic(boxId, shareHash) {
      const share = await database.read
        .selectFrom('box_key_share')
        .select('box_id')
        .where('hash', '=', shareHash)
        .executeTakeFirst()
      if (!share) throw new CoreError('key_share_not_found', 'no such share')
      if (share.box_id !== boxId) throw new CoreError('no_access', 'the share of another box')
      const row = await findBox(database.read, boxId)
      const { title } = column.open(row.id, row.id, row.sealed)
      const creator = await identities.get(row.creator_id)
      return { title, ownerOrgId: row.owner_org_id, creator }
    },

    async listJoined(identityId, ownerOrgId, { offset, limit }) {
      const rows = await joined(database.read, identityId, ownerOrgId)
        .selectAll('box')
        .orderBy('box.last_event', 'desc')
        .limit(limit === 0 ? BOXES_WITHOUT_BOUND : limit)
        .offset(offset)
        .execute()
      return expand(identityId, rows)
    },

    async countJoined(identityId, ownerOrgId) {
      const { count } = await joined(database.read, identityId, ownerOrgId)
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow()
      return count
    },

    async remove(identityId, boxId) {
      await blobs.unlinking(async (writer, release) => {
        const box = await findBox(writer, boxId)
        if (box.creator_id !== identityId) throw new CoreError('not_creator', 'not the creator')
        const files = await writer
          .selectFrom('box_event')
          .select('blob_id')
          .where('box_id', '=', boxId)
          .where('blob_id', 'is not', null)
          .execute()
        await writer.deleteFrom('box_event').where('box_id', '=', boxId).execute()
        await writer.deleteFrom('box_member').where('box_id', '=', boxId).execute()
        await writer.deleteFrom('box_key_share').where('box_id', '=', boxId).execute()
        await writer.deleteFrom('box').where('id', '=', boxId).execute()
        for (const { blob_id } of files) if (blob_id) await release(blob_id)
      })
    },

    async members(identityId, boxId) {
      await requireMember(database.read, identityId, boxId)
      const box = await findBox(database.read, boxId)
      const rows = await database.read
        .selectFrom('box_member')
        .select('identity_id')
        .where('box_id', '=', boxId)
        .orderBy('joined_at')
        .execute()
      const people = await identities.getMany(rows.map((row) => row.identity_id))
      const members = rows.flatMap((row) => people.get(row.identity_id) ?? [])
      return { members, creatorId: box.creator_id }
    },

    acknowledge: (identityId, boxId) =>
      database.write(async (writer) => {
        await requireMember(writer, identityId, boxId)
        const { last_event } = await findBox(writer, boxId)
        await changeMember(writer, identityId, boxId, { seen_event: last_event })
      }),

    setMuted: (identityId, boxId, muted) =>
      database.write(async (writer) => {
        await requireMember(writer, identityId, boxId)
        await changeMember(writer, identityId, boxId, { muted: muted ? 1 : 0 })
      }),

    async events(identityId, boxId, filter, page) {
      await requireMember(database.read, identityId, boxId)
      return log.list(database.read, boxId, filter, page)
    },

    async countEvents(identityId, boxId, filter) {
      await requireMember(database.read, identityId, boxId)
      return log.count(database.read, boxId, filter)
    },

    async requireMember(identityId, boxId) {
      await requireMember(database.read, identityId, boxId)
    },

    async creatorOf(boxId) {
      const row = await database.read
        .selectFrom('box')
        .select('creator_id')
        .where('id', '=', boxId)
        .executeTakeFirst()
      return row?.creator_id
    },

    join: (identityId, boxId) =>
      log.appending(async (writer) => {
        const box = await findBox(writer, boxId)
        if (await membership(writer, identityId, boxId)) {
          throw new CoreError('already_member', 'a member already')
        }
        if (box.access_mode !== 'public') throw new CoreError('no_access', 'this box is closed')
        await addMember(writer, boxId, identityId)
        return log.append(writer, boxId, { type: 'member.join', senderId: identityId })
      }),

    leave: (identityId, boxId) =>
      log.appending(async (writer) => {
        await requireMember(writer, identityId, boxId)
        const box = await findBox(writer, boxId)
        if (box.creator_id === identityId) {
          throw new CoreError('creator_stays', 'the creator cannot leave')
        }
        await writer
          .deleteFrom('box_member')
          .where('box_id', '=', boxId)
          .where('identity_id', '=', identityId)
          .execute()
        return log.append(writer, boxId, { type: 'member.leave', senderId: identityId })
      }),

    setAccessMode: (identityId, boxId, mode) =>
      log.appending(async (writer) => {
        await requireCreator(writer, identityId, boxId)
        await writer.updateTable('box').set({ access_mode: mode }).where('id', '=', boxId).execute()
        return log.append(writer, boxId, {
          type: 'state.access_mode',
          senderId: identityId,
          content: { type: 'state.access_mode', value: mode },
        })
      }),
  }
}

async function countNew(
  reader: Reader,
  identityId: string,
  boxId: string,
  seenEvent: number,
): Promise<number> {
  const { count } = await reader
    .selectFrom('box_event')
    .select(sql<number>`count(*)`.as('count'))
    .where('box_id', '=', boxId)
    .where('n', '>', seenEvent)
    .where('sender_id', '!=', identityId)
    .where('type', 'in', VISIBLE_EVENTS)
    .executeTakeFirstOrThrow()
  return count
}

async function changeMember(
  writer: Writer,
  identityId: string,
  boxId: string,
  change: { muted: 0 | 1 } | { seen_event: number },
): Promise<void> {
  await writer
    .updateTable('box_member')
    .set(change)
    .where('box_id', '=', boxId)
    .where('identity_id', '=', identityId)
    .execute()
}
