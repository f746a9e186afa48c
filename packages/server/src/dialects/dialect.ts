import type { Core } from '../core/core.ts'

/** The settings that dialects look at. */
export interface DialectSettings {
  /** Without a slash at its end; cookies are Secure exactly when it is https. */
  readonly publicUrl: string
  /** MiB; a file of exactly this size is accepted. */
  readonly boxFileMaxMb: number
  readonly metricsToken: string | undefined
}

/** What every dialect is given. */
export interface DialectOptions {
  core: Core
  settings: DialectSettings
}
