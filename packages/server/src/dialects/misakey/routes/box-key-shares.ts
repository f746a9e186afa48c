import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import type { NewKeyShare } from '../../../core/boxes/key-shares.ts'
import type { DialectOptions } from '../../dialect.ts'
import { actorOf } from '../auth.ts'
import { fieldErrors, REQUIRED } from '../errors.ts'
import { UrlSafe, Uuid } from '../schemas.ts'

/** The hash goes by two names: `invitation_share_hash` is what newer clients send. */
export const KeyShareBody = Type.Object({
  misakey_share: UrlSafe,
  other_share_hash: Type.Optional(UrlSafe),
  invitation_share_hash: Type.Optional(UrlSafe),
  encrypted_invitation_key_share: Type.Optional(UrlSafe),
})

const ShareBody = Type.Object({ share: UrlSafe, other_share_hash: UrlSafe, box_id: Uuid })

export function keyShareOf(body: Static<typeof KeyShareBody>): NewKeyShare {
  const hash = body.other_share_hash ?? body.invitation_share_hash
  if (!hash) throw fieldErrors({ other_share_hash: REQUIRED })
  return {
    hash,
    misakeyShare: body.misakey_share,
    encryptedInvitationKeyShare: body.encrypted_invitation_key_share ?? '',
  }
}

/** `docs/dialects/misakey.md`, key shares. */
export function boxKeyShareRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  app.post<{ Body: Static<typeof ShareBody> }>(
    '/box-key-shares',
    { config: { acr: 2 }, schema: { body: ShareBody } },
    async (request, reply) => {
      const { share, other_share_hash, box_id } = request.body
      await core.boxKeyShares.add(actorOf(request).identityId, box_id, {
        hash: other_share_hash,
        misakeyShare: share,
        encryptedInvitationKeyShare: '',
      })
      return reply.code(201).send({ share, other_share_hash, box_id })
    },
  )

  app.get<{ Querystring: { box_id: string } }>(
    '/box-key-shares/encrypted-invitation-key-share',
    { config: { acr: 2 }, schema: { querystring: Type.Object({ box_id: Uuid }) } },
    async (request, reply) => {
      const { identityId } = actorOf(request)
      const share = await core.boxKeyShares.forInvitations(identityId, request.query.box_id)
      return reply.type('application/json; charset=UTF-8').send(JSON.stringify(share))
    },
  )

  app.get<{ Params: { hash: string } }>(
    '/box-key-shares/:hash',
    { schema: { params: Type.Object({ hash: UrlSafe }) } },
    async (request) => {
      const { hash } = request.params
      const { boxId, share } = await core.boxKeyShares.get(actorOf(request).identityId, hash)
      return { other_share_hash: hash, share: share.misakeyShare, box_id: boxId }
    },
  )
}
