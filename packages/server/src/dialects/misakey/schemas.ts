import { Type } from 'typebox'

/** UUID of version 4; any other is malformed. */
export const Uuid = Type.String({
  pattern: '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$',
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

/** Pagination by rows; what a missing limit means differs by route. */
export const PageQuery = {
  offset: Type.Integer({ minimum: 0, default: 0 }),
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
}

/** The default limit of events and saved files. */
export const DEFAULT_LIMIT = 500
