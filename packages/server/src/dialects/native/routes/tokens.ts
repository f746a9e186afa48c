import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import type { ApiToken } from '../../../core/people/tokens.ts'
import type { DialectOptions } from '../../dialect.ts'
import { personOf } from '../auth.ts'
import { ProblemError } from '../errors.ts'

/** RFC 3339 with a zone. */
const DATE_TIME =
  '^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d+)?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)$'

const NewToken = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 254 }),
    expires_at: Type.Optional(Type.String({ pattern: DATE_TIME })),
  },
  { additionalProperties: false },
)

/** A person's API tokens. */
export function tokenRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  app.get('/tokens', async (request) => ({
    tokens: (await core.tokens.list(personOf(request))).map(renderToken),
  }))

  app.post<{ Body: Static<typeof NewToken> }>(
    '/tokens',
    { schema: { body: NewToken } },
    async (request, reply) => {
      const { name, expires_at } = request.body
      const expiresAt = expires_at === undefined ? undefined : Date.parse(expires_at)
      const created = await core.tokens.create(personOf(request), name, expiresAt)
      return reply.code(201).header('cache-control', 'no-store').send(created)
    },
  )

  app.delete<{ Params: { id: string } }>('/tokens/:id', async (request, reply) => {
    const { id } = request.params
    const own = await core.tokens.list(personOf(request))
    if (!own.some((token) => token.id === id)) throw new ProblemError(404, 'no such token')
    await core.tokens.revoke(id)
    return reply.code(204).send()
  })
}

function renderToken(token: ApiToken) {
  return {
    id: token.id,
    name: token.name,
    created_at: instant(token.createdAt),
    last_used_at: instant(token.lastUsedAt),
    expires_at: instant(token.expiresAt),
  }
}

function instant(milliseconds: number | null): string | null {
  return milliseconds === null ? null : new Date(milliseconds).toISOString()
}
