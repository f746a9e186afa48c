import type { FastifyInstance } from 'fastify'
import { CoreError } from '../../../core/errors.ts'
import type { DialectOptions } from '../../dialect.ts'
import { ownerOf } from '../auth.ts'
import { invalid, PrivasferError } from '../errors.ts'
import { formatInstant } from '../render.ts'

/** The documented «user temporary key»: a PIN unlocks downloads for an hour. */
export function keyRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  app.post('/keys', async (request, reply) => {
    const { pin } = (request.body ?? {}) as { pin?: unknown }
    if (pin === undefined || pin === null || pin === '') {
      throw invalid({ pin: ['The pin field is required.'] })
    }
    if (typeof pin !== 'string') throw invalid({ pin: ['The pin must be a string.'] })
    const owner = ownerOf(request)
    const { key, expiresAt } = await core.pins.unlock(owner.id, pin.trim(), request.ip)
    const expires_at = formatInstant(expiresAt, owner.profile.timeZone)
    return reply.code(201).send({ data: { key, expires_at } })
  })

  app.delete<{ Params: { key: string } }>('/keys/:key', async (request, reply) => {
    try {
      await core.pins.lock(ownerOf(request).id, request.params.key)
    } catch (error) {
      if (error instanceof CoreError) throw new PrivasferError(404, 'Not Found.')
      throw error
    }
    return reply.code(204).send()
  })
}
