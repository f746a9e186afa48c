import { type JWTPayload, jwtVerify } from 'jose'
import type { Core } from '../../core/core.ts'

/**
 * Whom an access token that a Twake signed (HS256) speaks for: the application it names, or else its
 * subject. Both must be known here. Refresh tokens are refused, and so is what never expires.
 *
 * @returns undefined for a token that is not taken
 */
export async function identityOfTwakeToken(
  core: Core,
  secret: string,
  token: string,
): Promise<string | undefined> {
  const claims = await verify(token, secret, new Date(core.clock()))
  if (!claims || (claims.type !== undefined && claims.type !== 'access')) return undefined
  const { sub, application_id } = claims
  const ids = application_id ? [sub, application_id] : [sub]
  if (!ids.every((id) => typeof id === 'string')) return undefined
  const known = await core.identities.getMany(ids)
  const speaker = known.get(ids.at(-1) ?? '')
  if (known.size !== new Set(ids).size || !speaker) return undefined
  if (application_id && speaker.kind !== 'application') return undefined
  return speaker.id
}

async function verify(
  token: string,
  secret: string,
  currentDate: Date,
): Promise<JWTPayload | undefined> {
  try {
    const { payload } = await jwtVerify(token, Buffer.from(secret), {
      algorithms: ['HS256'],
      requiredClaims: ['exp', 'sub'],
      currentDate,
    })
    return payload
  } catch {
    // Why a token is not taken is not told to whoever sent it.
    return undefined
  }
}
