import { Type } from 'typebox'
import { Bytes, type Description, NoContent, nullable } from '../../http/openapi.ts'
import { Uuid } from './schemas.ts'

/** What routes answer: for the OpenAPI document, which tests hold against real answers. */

const strict = { additionalProperties: false }

const Instant = Type.String({ format: 'date-time' })

export const Refusal = Type.Object(
  {
    code: Type.String(),
    origin: Type.String(),
    desc: Type.String(),
    details: Type.Record(Type.String(), Type.String()),
  },
  strict,
)

const Sender = Type.Object(
  {
    id: Type.String(),
    display_name: Type.String(),
    avatar_url: nullable(Type.String()),
    identifier_value: Type.String(),
    identifier_kind: Type.Enum(['email', 'org_id', '']),
  },
  strict,
)

const Event = Type.Object(
  {
    type: Type.String(),
    content: nullable(Type.Record(Type.String(), Type.Unknown())),
    box_id: Uuid,
    id: Uuid,
    server_event_created_at: Instant,
    referrer_id: nullable(Uuid),
    sender: Sender,
  },
  strict,
)

const BoxSettings = Type.Object({ identity_id: Uuid, box_id: Uuid, muted: Type.Boolean() }, strict)

const Box = Type.Object(
  {
    id: Uuid,
    server_created_at: Instant,
    owner_org_id: Uuid,
    datatag_id: Type.Null(),
    public_key: Type.String(),
    title: Type.String(),
    access_mode: Type.Enum(['limited', 'public']),
    subject: Type.Null(),
    creator: Sender,
    last_event: Event,
    events_count: Type.Integer(),
    settings: BoxSettings,
  },
  strict,
)

const PublicBox = Type.Object({ title: Type.String(), creator: Sender, owner_org_id: Uuid }, strict)

const Identity = Type.Object(
  {
    id: Uuid,
    account_id: nullable(Uuid),
    identifier_value: nullable(Type.String()),
    identifier_kind: Type.Enum(['email', 'org_id']),
    display_name: Type.String(),
    notifications: Type.Enum(['minimal', 'moderate', 'frequent']),
    avatar_url: nullable(Type.String()),
    color: nullable(Type.String()),
    level: Type.Integer(),
    mfa_method: Type.String(),
    pubkey: nullable(Type.String()),
    non_identified_pubkey: nullable(Type.String()),
    pubkey_aes_rsa: nullable(Type.String()),
    non_identified_pubkey_aes_rsa: nullable(Type.String()),
    has_account: Type.Boolean(),
    has_totp_secret: Type.Boolean(),
  },
  strict,
)

const KeyShare = Type.Object(
  { share: Type.String(), other_share_hash: Type.String(), box_id: Uuid },
  strict,
)

const SavedFile = Type.Object(
  {
    id: Uuid,
    identity_id: Uuid,
    encrypted_file_id: Uuid,
    encrypted_metadata: Type.String(),
    key_fingerprint: Type.String(),
    created_at: Instant,
  },
  strict,
)

const Quotum = Type.Object(
  {
    id: Uuid,
    created_at: Instant,
    identity_id: Uuid,
    value: Type.Integer(),
    origin: Type.String(),
  },
  strict,
)

const Events = Type.Array(Event)
const Boxes = Type.Array(Box)

export const ANSWERS: Description['answers'] = {
  'GET /csrf': { 200: Type.Object({ csrf_token: Type.String() }, strict) },
  'GET /version': { 200: Type.Object({ version: Type.String() }, strict) },
  'POST /auth/logout': { 204: NoContent },
  'GET /identities/:id': { 200: Identity },
  'PATCH /identities/:id': { 204: NoContent },
  'GET /identities/pubkey': { 200: Type.Array(Type.String()) },
  'POST /boxes': { 201: Box },
  'GET /boxes/joined': { 200: Boxes },
  'HEAD /boxes/joined': { 204: NoContent },
  'GET /boxes/:id': { 200: Box },
  'GET /boxes/:id/public': { 200: PublicBox },
  'DELETE /boxes/:id': { 204: NoContent },
  'GET /boxes/:id/members': { 200: Type.Array(Sender) },
  'PUT /boxes/:id/new-events-count/ack': { 204: NoContent },
  'GET /box-users/:id/boxes/:bid/settings': { 200: BoxSettings },
  'PUT /box-users/:id/boxes/:bid/settings': { 204: NoContent },
  'POST /box-key-shares': { 201: KeyShare },
  'GET /box-key-shares/:hash': { 200: KeyShare },
  'GET /box-key-shares/encrypted-invitation-key-share': { 200: Type.String() },
  'POST /boxes/:id/events': { 201: Event },
  'GET /boxes/:id/events': { 200: Events },
  'HEAD /boxes/:id/events': { 204: NoContent },
  'GET /boxes/:id/files': { 200: Events },
  'HEAD /boxes/:id/files': { 204: NoContent },
  'POST /boxes/:id/encrypted-files': { 201: Event },
  'GET /encrypted-files/:id': { 200: Bytes, 206: Bytes },
  'POST /saved-files': { 201: SavedFile },
  'GET /saved-files': { 200: Type.Array(SavedFile) },
  'HEAD /saved-files': { 204: NoContent },
  'DELETE /saved-files/:id': { 204: NoContent },
  'POST /box-users/:id/saved-files': { 201: SavedFile },
  'GET /box-users/:id/storage-quota': { 200: Type.Array(Quotum) },
  'GET /box-used-spaces': {
    200: Type.Array(Type.Object({ box_id: Uuid, value: Type.Integer() }, strict)),
  },
  'GET /box-users/:id/vault-used-space': { 200: Type.Object({ value: Type.Integer() }, strict) },
}
