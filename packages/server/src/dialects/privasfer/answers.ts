import { type TSchema, Type } from 'typebox'
import { Bytes, type Description, NoContent, nullable } from '../../http/openapi.ts'

/** What routes answer: for the OpenAPI document, which tests hold against real answers. */

const strict = { additionalProperties: false }

export const Refusal = Type.Object(
  {
    message: Type.String(),
    errors: Type.Optional(Type.Record(Type.String(), Type.Array(Type.String()))),
  },
  strict,
)

/** In the time zone of the token's owner. */
const Instant = Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d$' })

const User = Type.Object(
  {
    name: Type.String(),
    initials: Type.String(),
    email: Type.String(),
    photo_url: Type.String(),
    timezone: Type.String(),
  },
  strict,
)

const Category = Type.Object(
  { id: Type.String(), name: Type.String(), created_at: Instant },
  strict,
)

const File = Type.Object(
  {
    id: Type.String(),
    filename: Type.String(),
    type: Type.String(),
    extension: Type.String(),
    full_filename: Type.String(),
    size: Type.Integer(),
    formatted_size: Type.String(),
    encrypted_size: Type.Integer(),
    formatted_encrypted_size: Type.String(),
    category: Type.Optional(Category),
    created_by: User,
    created_at: Instant,
    disk: Type.String(),
    trashed: Type.Boolean(),
  },
  strict,
)

const FileList = Type.Object(
  {
    data: Type.Array(File),
    links: Type.Optional(
      Type.Object(
        {
          first: Type.String(),
          last: nullable(Type.String()),
          prev: nullable(Type.String()),
          next: nullable(Type.String()),
        },
        strict,
      ),
    ),
    meta: Type.Optional(
      Type.Object(
        {
          current_page: Type.Integer(),
          from: nullable(Type.Integer()),
          last_page: nullable(Type.Integer()),
          path: Type.String(),
          per_page: Type.Integer(),
          to: nullable(Type.Integer()),
          total: nullable(Type.Integer()),
        },
        strict,
      ),
    ),
  },
  strict,
)

const UploadedFile = Type.Object({ data: File, success: Type.Literal(true) }, strict)
const PinKey = data({ key: Type.String(), expires_at: Instant })
const DownloadKey = data({ key: Type.String() })
const Download = data({ id: Type.String(), created_at: Instant })

/** The envelope of a single object. */
function data(properties: Record<string, TSchema>) {
  return Type.Object({ data: Type.Object(properties, strict) }, strict)
}

const capability = { 200: Bytes, 206: Bytes }

export const ANSWERS: Description['answers'] = {
  'GET /api/files': { 200: FileList },
  'POST /api/files': { 201: UploadedFile },
  'GET /api/files/:id': { 200: Type.Object({ data: File }, strict) },
  'DELETE /api/files/:id': { 204: NoContent },
  'GET /api/files/:id/download': { 200: Bytes, 206: Bytes },
  'POST /api/keys': { 201: PinKey },
  'DELETE /api/keys/:key': { 204: NoContent },
  'POST /api/downloads': { 201: Download },
  'POST /api/downloads/:id/keys': { 201: DownloadKey },
  'GET /api/downloads/:download/:key': capability,
  'GET /download/:download/:key': capability,
  'GET /api/user': { 200: Type.Object({ data: User }, strict) },
  'GET /images/no_image.png': { 200: Bytes },
}
