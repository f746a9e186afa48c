import { Type } from 'typebox'
import { type Description, NoContent, nullable } from '../../http/openapi.ts'

/** What routes answer: for the OpenAPI document, which tests hold against real answers. */

const strict = { additionalProperties: false }

/** Problem details, RFC 9457. */
export const Refusal = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.Optional(Type.String()),
  },
  strict,
)

const Health = Type.Object({ status: Type.Literal('ok') }, strict)
const Instant = Type.String({ format: 'date-time' })

const Me = Type.Object(
  {
    id: Type.String(),
    email: Type.String(),
    name: Type.String(),
    time_zone: Type.String(),
    has_pin: Type.Boolean(),
  },
  strict,
)

const Token = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    created_at: Instant,
    last_used_at: nullable(Instant),
    expires_at: nullable(Instant),
  },
  strict,
)

export const ANSWERS: Description['answers'] = {
  'GET /health/live': { 200: Health },
  'GET /health/ready': { 200: Health },
  'GET /metrics': { 200: Type.String() },
  'GET /v1/me': { 200: Me },
  'PATCH /v1/me': { 200: Me },
  'GET /v1/tokens': { 200: Type.Object({ tokens: Type.Array(Token) }, strict) },
  'POST /v1/tokens': { 201: Type.Object({ token: Type.String(), id: Type.String() }, strict) },
  'DELETE /v1/tokens/:id': { 204: NoContent },
}
