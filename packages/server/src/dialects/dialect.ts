import type { Core } from '../core/core.ts'
import type { PublicAddress } from '../http/public-url.ts'

/** The settings that dialects look at. */
export interface DialectSettings extends PublicAddress {
  /** MiB; a file of exactly this size is accepted. */
  readonly boxFileMaxMb: number
  /** Bytes; undefined is no limit. */
  readonly accountFileMax: number | undefined
  /** Bytes that one account may hold; undefined is no limit. */
  readonly accountQuota: number | undefined
  /** Requests a minute and address on `/api`; 0 is no limit. */
  readonly apiRateLimit: number
  readonly metricsToken: string | undefined
  readonly twakeJwtSecret: string | undefined
}

/** What every dialect is given. */
export interface DialectOptions {
  core: Core
  settings: DialectSettings
}
