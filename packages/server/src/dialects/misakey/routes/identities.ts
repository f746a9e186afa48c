import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import { CoreError } from '../../../core/errors.ts'
import type { DialectOptions } from '../../dialect.ts'
import { actorOf, requireSelf } from '../auth.ts'
import { renderIdentity } from '../render.ts'
import { IdParams, PublicKey } from '../schemas.ts'

const PUBLIC_KEYS = {
  pubkey: Type.Optional(PublicKey),
  non_identified_pubkey: Type.Optional(PublicKey),
  pubkey_aes_rsa: Type.Optional(PublicKey),
  non_identified_pubkey_aes_rsa: Type.Optional(PublicKey),
}

const IdentityChange = Type.Object({
  display_name: Type.Optional(Type.String({ minLength: 3, maxLength: 254 })),
  notifications: Type.Optional(
    Type.Union([Type.Literal('minimal'), Type.Literal('moderate'), Type.Literal('frequent')]),
  ),
  color: Type.Optional(Type.String({ pattern: '^#[0-9a-fA-F]{6}$' })),
  ...PUBLIC_KEYS,
})

const PubkeyQuery = Type.Object({ identifier_value: Type.String({ minLength: 1, maxLength: 320 }) })

/** `docs/dialects/misakey.md`, identities. */
export function identityRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  app.get<{ Params: { id: string } }>(
    '/identities/:id',
    { schema: { params: IdParams } },
    async (request) => {
      requireSelf(request, request.params.id)
      return renderIdentity(await core.identities.get(request.params.id), actorOf(request).acr)
    },
  )

  app.patch<{ Params: { id: string }; Body: Static<typeof IdentityChange> }>(
    '/identities/:id',
    { schema: { params: IdParams, body: IdentityChange } },
    async (request, reply) => {
      const { id } = request.params
      requireSelf(request, id)
      const { display_name, notifications, color } = request.body
      await core.identities.change(id, {
        ...(display_name !== undefined && { displayName: display_name }),
        ...(notifications !== undefined && { notifications }),
        ...(color !== undefined && { color }),
        publicKeys: publicKeysOf(request.body),
      })
      return reply.code(204).send()
    },
  )

  app.get<{ Querystring: Static<typeof PubkeyQuery> }>(
    '/identities/pubkey',
    { config: { acr: 2, machines: true }, schema: { querystring: PubkeyQuery } },
    async (request) => {
      const { pubkey } = await publicKeysByEmail(request.query.identifier_value)
      return pubkey ? [pubkey] : []
    },
  )

  async function publicKeysByEmail(email: string): Promise<Partial<Record<string, string>>> {
    try {
      return (await core.identities.findByEmail(email)).profile.publicKeys
    } catch (error) {
      // Whether somebody is known here and has no key, or is not known, looks the same.
      if (error instanceof CoreError) return {}
      throw error
    }
  }
}

function publicKeysOf(body: Static<typeof IdentityChange>): Record<string, string> {
  const names = Object.keys(PUBLIC_KEYS) as (keyof typeof PUBLIC_KEYS)[]
  return Object.fromEntries(
    names.flatMap((name) => {
      const key = body[name]
      return key === undefined ? [] : [[name, key]]
    }),
  )
}
