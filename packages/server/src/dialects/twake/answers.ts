import { type TSchema, Type } from 'typebox'
import { Bytes, type Description, nullable } from '../../http/openapi.ts'

/** What routes answer: for the OpenAPI document, which tests hold against real answers. */

const strict = { additionalProperties: false }
const Milliseconds = Type.Integer({ description: 'since 1970-01-01T00:00:00Z' })

export const Refusal = Type.Object(
  { statusCode: Type.Integer(), error: Type.String(), message: Type.String() },
  strict,
)

const Metadata = Type.Object(
  {
    name: Type.String(),
    mime: Type.String(),
    thumbnails_status: Type.Enum(['waiting', 'done', 'error']),
    thumbnail: Type.Optional(Type.String({ description: 'url of the first of the thumbnails' })),
    width: Type.Optional(Type.Integer({ description: 'pixels of the first of the thumbnails' })),
    height: Type.Optional(Type.Integer({ description: 'pixels of the first of the thumbnails' })),
  },
  strict,
)

const Thumbnail = Type.Object(
  {
    index: Type.Integer(),
    id: Type.String(),
    size: Type.Integer({ description: 'bytes' }),
    type: Type.String(),
    width: Type.Integer(),
    height: Type.Integer(),
    url: Type.String({ description: 'relative to the server' }),
  },
  strict,
)

const File = resource({
  company_id: Type.String(),
  id: Type.String(),
  owner_type: Type.Enum(['user', 'application']),
  owner_id: Type.String(),
  user_id: Type.String(),
  application_id: nullable(Type.String()),
  encryption_key: Type.Literal(''),
  updated_at: Milliseconds,
  created_at: Milliseconds,
  metadata: nullable(Metadata),
  thumbnails: Type.Array(Thumbnail),
  upload_data: nullable(Type.Object({ size: Type.Integer(), chunks: Type.Integer() }, strict)),
})

const State = resource({
  company_id: Type.String(),
  id: Type.String(),
  complete: Type.Boolean(),
  total_chunks: nullable(Type.Integer()),
  total_size: nullable(Type.Integer()),
  expires_at: nullable(Milliseconds),
  chunks: Type.Array(Type.Object({ chunk_number: Type.Integer(), size: Type.Integer() }, strict)),
})

const Link = resource({
  url: Type.String(),
  full_url: Type.String(),
  expires_at: Milliseconds,
})

/** The envelope of everything. */
function resource(properties: Record<string, TSchema>) {
  return Type.Object({ resource: Type.Object(properties, strict) }, strict)
}

const FILES = '/internal/services/files/v1/companies/:company_id/files'

export const ANSWERS: Description['answers'] = {
  [`POST ${FILES}`]: { 200: File },
  [`POST ${FILES}/:id`]: { 200: File },
  [`GET ${FILES}/:id`]: { 200: File, 204: { description: 'the chunk is not here', type: 'null' } },
  [`DELETE ${FILES}/:id`]: { 200: Type.Object({ status: Type.Literal('success') }, strict) },
  [`GET ${FILES}/:id/upload`]: { 200: State },
  [`GET ${FILES}/:id/download`]: { 200: Bytes, 206: Bytes },
  [`GET ${FILES}/:id/download/url`]: { 200: Link },
  [`GET ${FILES}/:id/thumbnails/:index`]: { 200: Bytes },
  [`GET ${FILES}/:id/thumbnails/:index/url`]: { 200: Link },
}
