import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Database, Reader, Writer } from '../database.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { sealedJson } from '../keys/sealed-column.ts'
import { prepare } from '../prepared.ts'
import type { CompanyRole, IdentityKind } from '../schema.ts'
import type { Identities } from './identities.ts'
import type { ApiTokens } from './tokens.ts'

export interface NewCompany {
  name: string
  /** Identity ids by role; who stands in several has the first of owner, manager, member. */
  owners: readonly string[]
  managers: readonly string[]
  members: readonly string[]
}

/** Somebody in a company. */
export interface Member {
  readonly role: CompanyRole
  readonly kind: IdentityKind
}

export interface Companies {
  create(company: NewCompany): Promise<{ id: string }>
  /** Makes an application of a company, with its first token. @throws CoreError company_not_found */
  createApplication(
    companyId: string,
    name: string,
  ): Promise<{ applicationId: string; token: string }>
  /** What somebody is in a company, or undefined for a stranger and for a company that is not there. */
  memberOf(reader: Reader, companyId: string, identityId: string): Promise<Member | undefined>
}

export function createCompanies(
  database: Database,
  keyring: Keyring,
  clock: Clock,
  identities: Identities,
  tokens: ApiTokens,
): Companies {
  const column = sealedJson<{ name: string }>(keyring, 'company')
  const member = prepare((slot: (name: 'company' | 'identity') => never) =>
    database.read
      .selectFrom('company_member')
      .innerJoin('identity', 'identity.id', 'company_member.identity_id')
      .select(['company_member.role', 'identity.kind'])
      .where('company_id', '=', slot('company'))
      .where('identity_id', '=', slot('identity')),
  )

  async function join(
    writer: Writer,
    companyId: string,
    identityId: string,
    role: CompanyRole,
  ): Promise<void> {
    await writer
      .insertInto('company_member')
      .values({ company_id: companyId, identity_id: identityId, role, created_at: clock() })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  }

  return {
    create: ({ name, owners, managers, members }) =>
      database.write(async (writer) => {
        const id = randomUUID()
        await writer
          .insertInto('company')
          .values({ id, sealed: column.seal(id, id, { name }), created_at: clock() })
          .execute()
        for (const owner of owners) await join(writer, id, owner, 'owner')
        for (const manager of managers) await join(writer, id, manager, 'manager')
        for (const member of members) await join(writer, id, member, 'member')
        return { id }
      }),

    createApplication: (companyId, name) =>
      database.write(async (writer) => {
        const company = await writer
          .selectFrom('company')
          .select('id')
          .where('id', '=', companyId)
          .executeTakeFirst()
        if (!company) throw new CoreError('company_not_found', 'no such company')
        const { id } = await identities.insertNamed(writer, 'application', name)
        await join(writer, companyId, id, 'application')
        const { token } = await tokens.insert(writer, id, name)
        return { applicationId: id, token }
      }),

    async memberOf(reader, companyId, identityId) {
      const [row] = await member(reader, { company: companyId, identity: identityId })
      return row
    },
  }
}
