import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type Static, type TSchema, Type } from 'typebox'
import type { BoxEvent, EventFilter } from '../../../core/boxes/events.ts'
import type { Core } from '../../../core/core.ts'
import { CoreError } from '../../../core/errors.ts'
import type { DialectOptions } from '../../dialect.ts'
import { actorOf } from '../auth.ts'
import { fieldErrors, MALFORMED, REQUIRED } from '../errors.ts'
import { renderEvent, type Viewer } from '../render.ts'
import { DEFAULT_LIMIT, IdParams, PageQuery, UrlSafe, Uuid } from '../schemas.ts'
import { KeyShareBody, keyShareOf } from './box-key-shares.ts'

const EventBody = Type.Object({
  type: Type.String({ minLength: 1 }),
  content: Type.Optional(Type.Unknown()),
  referrer_id: Type.Optional(Type.Union([Uuid, Type.Null()])),
  extra: Type.Optional(Type.Unknown()),
})
type EventBody = Static<typeof EventBody>

const TextContent = Type.Object({ encrypted: UrlSafe, public_key: UrlSafe })
const EditContent = Type.Object({ new_encrypted: UrlSafe, new_public_key: UrlSafe })
const AccessModeContent = Type.Object({
  value: Type.Union([Type.Literal('public'), Type.Literal('limited')]),
})
const ListQuery = Type.Object(PageQuery)

type Post = (
  core: Core,
  identityId: string,
  boxId: string,
  request: FastifyRequest<{ Body: EventBody }>,
) => Promise<BoxEvent>

/** What clients may post, by type. A file message is made by its upload and by nothing else. */
const POSTS: Record<string, Post> = {
  'msg.text': (core, identityId, boxId, request) => {
    const { encrypted, public_key } = checked(request, TextContent, 'content')
    return core.boxMessages.sendText(identityId, boxId, { encrypted, publicKey: public_key })
  },
  'msg.edit': (core, identityId, boxId, request) => {
    const { new_encrypted, new_public_key } = checked(request, EditContent, 'content')
    return core.boxMessages.editText(identityId, boxId, referrerOf(request), {
      encrypted: new_encrypted,
      publicKey: new_public_key,
    })
  },
  'msg.delete': (core, identityId, boxId, request) =>
    core.boxMessages.deleteMessage(identityId, boxId, referrerOf(request)),
  'member.join': (core, identityId, boxId) => core.boxes.join(identityId, boxId),
  'member.leave': (core, identityId, boxId) => core.boxes.leave(identityId, boxId),
  'state.access_mode': (core, identityId, boxId, request) => {
    const { value } = checked(request, AccessModeContent, 'content')
    return core.boxes.setAccessMode(identityId, boxId, value)
  },
  'state.key_share': (core, identityId, boxId, request) => {
    const share = keyShareOf(checked(request, KeyShareBody, 'extra'))
    return core.boxKeyShares.replace(identityId, boxId, share)
  },
}

/** Who looks at a box, with what she has saved of it. */
export async function viewerOf(core: Core, identityId: string, boxId: string): Promise<Viewer> {
  return {
    identityId,
    isCreator: (await core.boxes.creatorOf(boxId)) === identityId,
    saved: await core.savedFiles.savedOfBox(identityId, boxId),
  }
}

/** `docs/dialects/misakey.md`, events. */
export function eventRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  app.post<{ Params: { id: string }; Body: EventBody }>(
    '/boxes/:id/events',
    { config: { machines: true }, schema: { params: IdParams, body: EventBody } },
    async (request, reply) => {
      const { identityId } = actorOf(request)
      const boxId = request.params.id
      const post = Object.hasOwn(POSTS, request.body.type) ? POSTS[request.body.type] : undefined
      if (!post) throw fieldErrors({ type: MALFORMED })
      await requireBox(boxId)
      const event = await post(core, identityId, boxId, request)
      const viewer = await viewerOf(core, identityId, boxId)
      return reply.code(201).send(renderEvent(event, viewer))
    },
  )

  async function requireBox(boxId: string): Promise<void> {
    const creator = await core.boxes.creatorOf(boxId)
    if (creator === undefined) throw new CoreError('box_not_found', 'no such box')
  }

  listRoutes(app, core, '/boxes/:id/events', 'visible')
  listRoutes(app, core, '/boxes/:id/files', 'files')
}

function listRoutes(app: FastifyInstance, core: Core, url: string, filter: EventFilter): void {
  const schema = { params: IdParams, querystring: ListQuery }

  // Before its GET, or the framework would answer HEAD by it.
  app.head<{ Params: { id: string } }>(url, { schema }, async (request, reply) => {
    const { identityId } = actorOf(request)
    const count = await core.boxes.countEvents(identityId, request.params.id, filter)
    return reply.code(204).header('x-total-count', count).send()
  })

  app.get<{ Params: { id: string }; Querystring: Static<typeof ListQuery> }>(
    url,
    { schema },
    async (request) => {
      const { identityId } = actorOf(request)
      const { offset, limit = DEFAULT_LIMIT } = request.query
      const boxId = request.params.id
      const events = await core.boxes.events(identityId, boxId, filter, { offset, limit })
      const viewer = await viewerOf(core, identityId, boxId)
      return events.map((event) => renderEvent(event, viewer))
    },
  )
}

/** A part of the body whose schema depends on the event's type, checked like any other field. */
function checked<T extends TSchema>(
  request: FastifyRequest<{ Body: EventBody }>,
  schema: T,
  field: 'content' | 'extra',
): Static<T> {
  const value = request.body[field]
  if (value === undefined || value === null) throw fieldErrors({ [field]: REQUIRED })
  const validate = request.compileValidationSchema(schema, 'body')
  if (!validate(value)) {
    throw Object.assign(new Error('malformed content'), {
      validation: validate.errors,
      validationContext: 'body',
    })
  }
  return value as Static<T>
}

function referrerOf(request: FastifyRequest<{ Body: EventBody }>): string {
  if (request.body.referrer_id) return request.body.referrer_id
  throw fieldErrors({ referrer_id: REQUIRED })
}
