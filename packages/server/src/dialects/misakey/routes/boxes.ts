import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import type { Box, PublicBox } from '../../../core/boxes/boxes.ts'
import { CoreError } from '../../../core/errors.ts'
import type { DialectOptions } from '../../dialect.ts'
import { actorOf, requireSelf } from '../auth.ts'
import { MisakeyError } from '../errors.ts'
import { renderBox, renderSender } from '../render.ts'
import { IdParams, PageQuery, PublicKey, UrlSafe, Uuid } from '../schemas.ts'
import { KeyShareBody, keyShareOf } from './box-key-shares.ts'
import { viewerOf } from './events.ts'

const BoxBody = Type.Object({
  title: Type.String({ minLength: 1, maxLength: 50 }),
  public_key: PublicKey,
  owner_org_id: Type.Optional(Uuid),
  key_share: Type.Optional(KeyShareBody),
})

const JoinedQuery = Type.Object({
  owner_org_id: Type.Optional(Uuid),
  datatag_id: Type.Optional(Type.Union([Uuid, Type.Literal('')])),
  ...PageQuery,
})

const DeletionBody = Type.Object({
  user_confirmation: Type.Union([Type.Literal('delete'), Type.Literal('supprimer')]),
})

const SettingsParams = Type.Object({ id: Uuid, bid: Uuid })
const DEFAULT_JOINED_LIMIT = 10

/** `docs/dialects/misakey.md`, boxes. */
export function boxRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  async function render(box: Box, identityId: string) {
    return renderBox(box, await viewerOf(core, identityId, box.id))
  }

  async function publicBox(boxId: string, shareHash: string): Promise<PublicBox> {
    try {
      return await core.boxes.getPublic(boxId, shareHash)
    } catch (error) {
      if (!(error instanceof CoreError) || error.code !== 'no_access') throw error
      const details = { other_share_hash: 'invalid' }
      throw new MisakeyError(403, 'not_defined', error.message, details)
    }
  }

  app.post<{ Body: Static<typeof BoxBody> }>(
    '/boxes',
    { config: { acr: 2 }, schema: { body: BoxBody } },
    async (request, reply) => {
      const { identityId } = actorOf(request)
      const { title, public_key, owner_org_id, key_share } = request.body
      const box = await core.boxes.create(identityId, {
        title,
        publicKey: public_key,
        ownerOrgId: owner_org_id,
        keyShare: key_share && keyShareOf(key_share),
      })
      return reply.code(201).send(await render(box, identityId))
    },
  )

  // Before its GET, or the framework would answer HEAD by it.
  app.head<{ Querystring: Static<typeof JoinedQuery> }>(
    '/boxes/joined',
    { config: { acr: 2 }, schema: { querystring: JoinedQuery } },
    async (request, reply) => {
      const { owner_org_id, datatag_id } = request.query
      const { identityId } = actorOf(request)
      // No box carries a tag here.
      const owner = owner_org_id ?? (await core.identities.selfOrganisation())
      const count = datatag_id ? 0 : await core.boxes.countJoined(identityId, owner)
      return reply.code(204).header('x-total-count', count).send()
    },
  )

  app.get<{ Querystring: Static<typeof JoinedQuery> }>(
    '/boxes/joined',
    { config: { acr: 2 }, schema: { querystring: JoinedQuery } },
    async (request) => {
      const { owner_org_id, datatag_id, offset, limit } = request.query
      const { identityId } = actorOf(request)
      if (datatag_id) return []
      const owner = owner_org_id ?? (await core.identities.selfOrganisation())
      const boxes = await core.boxes.listJoined(identityId, owner, {
        offset,
        limit: limit || DEFAULT_JOINED_LIMIT,
      })
      return Promise.all(boxes.map((box) => render(box, identityId)))
    },
  )

  app.get<{ Params: { id: string } }>(
    '/boxes/:id',
    { schema: { params: IdParams } },
    async (request) => {
      const { identityId } = actorOf(request)
      return render(await core.boxes.get(identityId, request.params.id), identityId)
    },
  )

  app.get<{ Params: { id: string }; Querystring: { other_share_hash: string } }>(
    '/boxes/:id/public',
    {
      config: { public: true },
      schema: { params: IdParams, querystring: Type.Object({ other_share_hash: UrlSafe }) },
    },
    async (request) => {
      const box = await publicBox(request.params.id, request.query.other_share_hash)
      return {
        title: box.title,
        creator: renderSender(box.creator, false),
        owner_org_id: box.ownerOrgId,
      }
    },
  )

  app.delete<{ Params: { id: string } }>(
    '/boxes/:id',
    { config: { acr: 2 }, schema: { params: IdParams, body: DeletionBody } },
    async (request, reply) => {
      await core.boxes.remove(actorOf(request).identityId, request.params.id)
      return reply.code(204).send()
    },
  )

  app.get<{ Params: { id: string } }>(
    '/boxes/:id/members',
    { schema: { params: IdParams } },
    async (request) => {
      const { identityId } = actorOf(request)
      const { members, creatorId } = await core.boxes.members(identityId, request.params.id)
      const isCreator = creatorId === identityId
      return members.map((member) => renderSender(member, isCreator || member.id === identityId))
    },
  )

  app.put<{ Params: { id: string }; Body: { identity_id: string } }>(
    '/boxes/:id/new-events-count/ack',
    { schema: { params: IdParams, body: Type.Object({ identity_id: Uuid }) } },
    async (request, reply) => {
      requireSelf(request, request.body.identity_id, { identity_id: 'forbidden' })
      await core.boxes.acknowledge(request.body.identity_id, request.params.id)
      return reply.code(204).send()
    },
  )

  app.get<{ Params: { id: string; bid: string } }>(
    '/box-users/:id/boxes/:bid/settings',
    { schema: { params: SettingsParams } },
    async (request) => {
      const { id, bid } = request.params
      requireSelf(request, id, { id: 'forbidden' })
      return (await render(await core.boxes.get(id, bid), id)).settings
    },
  )

  app.put<{ Params: { id: string; bid: string }; Body: { muted: boolean } }>(
    '/box-users/:id/boxes/:bid/settings',
    { schema: { params: SettingsParams, body: Type.Object({ muted: Type.Boolean() }) } },
    async (request, reply) => {
      const { id, bid } = request.params
      requireSelf(request, id, { id: 'forbidden' })
      await core.boxes.setMuted(id, bid, request.body.muted)
      return reply.code(204).send()
    },
  )
}
