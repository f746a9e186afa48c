import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Database, Reader, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedJson } from '../keys/sealed-column.ts'
import { readMeta } from '../meta.ts'
import type { IdentityKind, IdentityProfile, Row } from '../schema.ts'
import { emailIndex } from './email.ts'

/** A person, an application or an organisation. */
export interface Identity {
  readonly id: string
  readonly kind: IdentityKind
  /** Of a person: what her sign-in methods belong to. */
  readonly accountId: string | null
  readonly profile: IdentityProfile
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

export interface NewPerson {
  email: string
  name: string
  timeZone?: string | undefined
}

/** What is left out stays; of public keys, too. */
export type ProfileChange = Partial<Omit<IdentityProfile, 'email'>>

export interface Identities {
  /** @throws CoreError email_malformed, email_taken, time_zone_unknown */
  createPerson(person: NewPerson): Promise<Identity>
  /** Adds an identity that nobody signs in to, inside a larger transaction. */
  insertNamed(writer: Writer, kind: 'application' | 'organisation', name: string): Promise<Identity>
  /** @throws CoreError identity_not_found, time_zone_unknown */
  change(id: string, change: ProfileChange): Promise<Identity>
  /** @throws CoreError identity_not_found */
  get(id: string): Promise<Identity>
  /** The identities that exist among `ids`, by id. */
  getMany(ids: Iterable<string>): Promise<Map<string, Identity>>
  /** @throws CoreError email_malformed, identity_not_found, integrity */
  findByEmail(email: string): Promise<Identity>
  /** Whether anybody was made yet. */
  hasPerson(): Promise<boolean>
  /** The organisation that owns boxes for which nobody names another. */
  selfOrganisation(): Promise<string>
}

const SELF_ORGANISATION = 'self_organisation_id'
/** SQLite's default bound on variables is far higher; the list is asked for in pieces all the same. */
const IDS_PER_QUERY = 500

export function createIdentities(database: Database, keyring: Keyring, clock: Clock): Identities {
  const column = sealedJson<IdentityProfile>(keyring, 'identity')
  const indexOf = (email: string) => emailIndex(keyring.indexKey('email'), email)

  function open(row: Row<'identity'>): Identity {
    const { id, kind, account_id, created_at, sealed } = row
    const profile = column.open(id, '', sealed)
    return { id, kind, accountId: account_id, profile, createdAt: created_at }
  }

  async function find(reader: Reader, id: string): Promise<Identity> {
    const row = await reader
      .selectFrom('identity')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst()
    if (!row) throw new CoreError('identity_not_found', 'no such identity')
    return open(row)
  }

  async function insert(
    writer: Writer,
    kind: IdentityKind,
    profile: IdentityProfile,
  ): Promise<Identity> {
    const id = randomUUID()
    const accountId = kind === 'person' ? randomUUID() : null
    const createdAt = clock()
    await writer
      .insertInto('identity')
      .values({
        id,
        kind,
        account_id: accountId,
        email_index: profile.email === null ? null : indexOf(profile.email),
        sealed: column.seal(id, '', profile),
        created_at: createdAt,
      })
      .execute()
    return { id, kind, accountId, profile, createdAt }
  }

  const insertNamed: Identities['insertNamed'] = (writer, kind, displayName) =>
    insert(writer, kind, { ...EMPTY_PROFILE, displayName })

  return {
    async createPerson({ email, name, timeZone = 'UTC' }) {
      const profile = {
        ...EMPTY_PROFILE,
        email: email.trim(),
        displayName: name,
        timeZone: knownTimeZone(timeZone),
      }
      return database.write(async (writer) => {
        const taken = await writer
          .selectFrom('identity')
          .select('id')
          .where('email_index', '=', indexOf(email))
          .executeTakeFirst()
        if (taken) throw new CoreError('email_taken', 'somebody has this e-mail address already')
        return insert(writer, 'person', profile)
      })
    },

    insertNamed,

    change: (id, change) =>
      database.write(async (writer) => {
        const identity = await find(writer, id)
        const publicKeys = { ...identity.profile.publicKeys, ...change.publicKeys }
        const profile = { ...identity.profile, ...change, publicKeys }
        knownTimeZone(profile.timeZone)
        await writer
          .updateTable('identity')
          .set({ sealed: column.seal(id, '', profile) })
          .where('id', '=', id)
          .execute()
        return { ...identity, profile }
      }),

    get: (id) => find(database.read, id),

    async getMany(ids) {
      const wanted = [...new Set(ids)]
      const found = new Map<string, Identity>()
      for (let at = 0; at < wanted.length; at += IDS_PER_QUERY) {
        const rows = await database.read
          .selectFrom('identity')
          .selectAll()
          .where('id', 'in', wanted.slice(at, at + IDS_PER_QUERY))
          .execute()
        for (const row of rows) found.set(row.id, open(row))
      }
      return found
    },

    async findByEmail(email) {
      const row = await database.read
        .selectFrom('identity')
        .selectAll()
        .where('email_index', '=', indexOf(email))
        .executeTakeFirst()
      if (!row) throw new CoreError('identity_not_found', 'nobody has this e-mail address')
      const identity = open(row)
      // Who can write the database must not give somebody's address to somebody else.
      if (!indexOf(identity.profile.email ?? '').equals(indexOf(email))) {
        throw new CoreError('integrity', `identity ${row.id} has the index of another address`)
      }
      return identity
    },

    async hasPerson() {
      const person = await database.read
        .selectFrom('identity')
        .select('id')
        .where('kind', '=', 'person')
        .limit(1)
        .executeTakeFirst()
      return person !== undefined
    },

    async selfOrganisation() {
      const known = await readMeta(database.read, SELF_ORGANISATION)
      if (known) return known
      return database.write(async (writer) => {
        const made = await readMeta(writer, SELF_ORGANISATION)
        if (made) return made
        const { id } = await insertNamed(writer, 'organisation', 'Holdfast')
        await writer.insertInto('meta').values({ key: SELF_ORGANISATION, value: id }).execute()
        return id
      })
    },
  }
}

const EMPTY_PROFILE: IdentityProfile = {
  email: null,
  displayName: '',
  avatarUrl: null,
  timeZone: 'UTC',
  notifications: 'minimal',
  color: null,
  publicKeys: {},
}

function knownTimeZone(name: string): string {
  try {
    // Offsets are taken for zones too, but know no summer.
    if (/^[+-]/.test(name)) throw new RangeError(name)
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone && name
  } catch (error) {
    throw new CoreError('time_zone_unknown', `${name} is no IANA time zone`, { cause: error })
  }
}
