import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { DialectOptions } from '../../dialect.ts'
import { requireSelf } from '../auth.ts'
import { renderInstant } from '../render.ts'
import { IdParams, Uuid } from '../schemas.ts'

/** `docs/dialects/misakey.md`, storage quota. */
export function quotaRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  app.get<{ Params: { id: string } }>(
    '/box-users/:id/storage-quota',
    { schema: { params: IdParams } },
    async (request) => {
      const { id } = request.params
      requireSelf(request, id, { id: 'forbidden' })
      const granted = await core.quotas.granted(id)
      return granted.map((quotum) => ({
        id: quotum.id,
        created_at: renderInstant(quotum.createdAt),
        identity_id: quotum.identityId,
        value: quotum.value,
        origin: quotum.origin,
      }))
    },
  )

  app.get<{ Querystring: { identity_id: string } }>(
    '/box-used-spaces',
    { schema: { querystring: Type.Object({ identity_id: Uuid }) } },
    async (request) => {
      const { identity_id } = request.query
      requireSelf(request, identity_id, { identity_id: 'forbidden' })
      const boxes = await core.quotas.usedByBoxes(identity_id)
      return boxes.map(({ boxId, bytes }) => ({ box_id: boxId, value: bytes }))
    },
  )

  app.get<{ Params: { id: string } }>(
    '/box-users/:id/vault-used-space',
    { schema: { params: IdParams } },
    async (request) => {
      const { id } = request.params
      requireSelf(request, id, { id: 'forbidden' })
      return { value: await core.quotas.usedBySavedFiles(id) }
    },
  )
}
