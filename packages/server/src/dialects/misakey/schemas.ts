import { Type } from 'typebox'

/** UUID of version 4, in lower case as all that we give; any other is malformed. */
export const Uuid = Type.String({
  minLength: 1,
  pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$',
})

/** Unpadded URL-safe base64, not decoded. */
export const UrlSafe = Type.String({ minLength: 1, pattern: '^[A-Za-z0-9_-]+$' })

/** A box's or person's public key; those of organisations carry a prefix. */
export const PUBLIC_KEY_PATTERN = '^(com\\.misakey\\.aes-rsa-enc:)?[A-Za-z0-9_-]+$'
export const PublicKey = Type.String({
  minLength: 1,
  maxLength: 10_000,
  pattern: PUBLIC_KEY_PATTERN,
})

export const IdParams = Type.Object({ id: Uuid })

/** What the database still takes for a number. */
const LARGEST_PAGE = Number.MAX_SAFE_INTEGER

/** Pagination by rows; what a missing limit means differs by route. */
export const PageQuery = {
  offset: Type.Integer({ minimum: 0, maximum: LARGEST_PAGE, default: 0 }),
  limit: Type.Optional(Type.Integer({ minimum: 0, maximum: LARGEST_PAGE })),
}

/** The default limit of events and saved files. */
export const DEFAULT_LIMIT = 500
