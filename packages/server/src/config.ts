import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { resolve } from 'node:path'
import type { S3Credentials, S3Place } from './store/blobs/s3/place.ts'

/** Everything that can be set, checked once at the start and never read from the environment again. */
export interface Config {
  readonly host: string
  readonly port: number
  /** Absolute path of the data folder; nobody uses it when blobs and database are both elsewhere. */
  readonly data: string
  /** Where blobs and keyring are; undefined is the data folder. */
  readonly blobs: S3Place | undefined
  /** Absolute path of the root key file. */
  readonly rootKeyFile: string
  readonly recipient: 'x25519' | 'hybrid'
  /** Of PostgreSQL, or undefined for SQLite in the data folder. */
  readonly postgres: PostgresSettings | undefined
  /** Without a slash at its end. */
  readonly publicUrl: string
  /** Whether nobody has set it, and trusted proxies may say it. */
  readonly publicUrlFromProxy: boolean
  readonly trustedProxies: readonly string[]
  readonly allowedOrigins: readonly string[]
  /** MiB; a file of exactly this size is accepted. */
  readonly boxFileMaxMb: number
  /** Bytes. */
  readonly smallLimit: number
  /** Bytes; undefined is no limit. */
  readonly accountFileMax: number | undefined
  /** Bytes that one account may hold; undefined is no limit. */
  readonly accountQuota: number | undefined
  /** Requests a minute and address on `/api`; 0 is no limit. */
  readonly apiRateLimit: number
  readonly quotaRules: {
    /** Bytes. */
    readonly base: number
    readonly enforced: boolean
  }
  /** Bytes that the files of one company may take, or undefined for any number. */
  readonly companyQuota: number | undefined
  /** Milliseconds after which an upload that nobody goes on with is forgotten. */
  readonly uploadExpiry: number
  /** Bytes; larger files get no previews. 0 makes none at all. */
  readonly previewMax: number
  /** Of access tokens that a Twake signed; without one they are refused. */
  readonly twakeJwtSecret: string | undefined
  /** Asked for by `GET /metrics`, which is not there without it. */
  readonly metricsToken: string | undefined
  /** Bytes a second that the server opens in the background to see whether they are well; 0 is never. */
  readonly scrubRate: number
  readonly logLevel: string
}

export interface PostgresSettings {
  /** `postgres://…`, with the password in it. */
  readonly url: string
  /** Whether a server is taken that may lose acknowledged commits. */
  readonly unsafe: boolean
  /** That one process holds at most. */
  readonly connections: number
}

/** A setting that cannot be used; the message names the variable. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

const LARGEST_SMALL_KB = 256
/** A renderer holds its input in memory, and has a gigabyte of it for everything. */
const LARGEST_PREVIEWED_MB = 200
const UNIT_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']

/**
 * Reads the settings from environment variables. `docs/operations.md` describes each one.
 *
 * @throws ConfigError
 */
export function loadConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const read = settings(environment)
  const host = read.text('HOLDFAST_HOST', '127.0.0.1')
  const port = read.integer('HOLDFAST_PORT', 8420, 0, 65535)
  const data = resolve(read.text('HOLDFAST_DATA', './data'))
  const host6 = host.includes(':') ? `[${host}]` : host
  const trustedProxies = read.networks('HOLDFAST_TRUSTED_PROXIES')
  const blobs = read.s3Place('HOLDFAST_BLOBS_URL')
  const postgres = postgresSettings(read)
  if (blobs && postgres && !environment.HOLDFAST_ROOT_KEY_FILE) {
    throw new ConfigError(
      'HOLDFAST_ROOT_KEY_FILE must be set when HOLDFAST_DATABASE_URL and HOLDFAST_BLOBS_URL are: there is no data folder for it to lie beside',
    )
  }
  return Object.freeze({
    host,
    port,
    data,
    blobs,
    rootKeyFile: resolve(read.text('HOLDFAST_ROOT_KEY_FILE', `${data}.key`)),
    recipient: read.choice('HOLDFAST_RECIPIENT', ['x25519', 'hybrid'], 'x25519'),
    postgres,
    publicUrl: read.url('HOLDFAST_PUBLIC_URL', `http://${host6}:${port}`),
    publicUrlFromProxy: !environment.HOLDFAST_PUBLIC_URL && trustedProxies.length > 0,
    trustedProxies,
    allowedOrigins: read.list('HOLDFAST_ALLOWED_ORIGINS'),
    boxFileMaxMb: read.integer('HOLDFAST_BOX_FILE_MAX_MB', 8, 1, 1024 * 1024),
    smallLimit: read.integer('HOLDFAST_SMALL_MAX_KB', 64, 0, LARGEST_SMALL_KB) * 1024,
    accountFileMax: read.optionalMb('HOLDFAST_ACCOUNT_FILE_MAX_MB'),
    accountQuota: read.optionalMb('HOLDFAST_ACCOUNT_QUOTA_MB'),
    apiRateLimit: read.integer('HOLDFAST_API_RATE_LIMIT', 300, 0, 1_000_000),
    quotaRules: {
      base: read.integer('HOLDFAST_QUOTA_MB', 100, 0, 1024 ** 3) * 1024 * 1024,
      enforced: read.choice('HOLDFAST_QUOTA_ENFORCED', ['0', '1'], '0') === '1',
    },
    companyQuota: read.optionalMb('HOLDFAST_COMPANY_QUOTA_MB'),
    uploadExpiry: read.duration('HOLDFAST_UPLOAD_EXPIRY', '7d'),
    previewMax: read.integer('HOLDFAST_PREVIEW_MAX_MB', 50, 0, LARGEST_PREVIEWED_MB) * 1024 * 1024,
    twakeJwtSecret: read.secret('HOLDFAST_TWAKE_JWT_SECRET'),
    metricsToken: read.secret('HOLDFAST_METRICS_TOKEN'),
    scrubRate: read.integer('HOLDFAST_SCRUB_RATE', 8, 0, 1024 * 1024) * 1024 * 1024,
    logLevel: read.choice('HOLDFAST_LOG_LEVEL', LOG_LEVELS, 'info'),
  })
}

/**
 * The settings of the place that a store is to be moved to: those of where it is, but for what a
 * `HOLDFAST_TO_…` names.
 *
 * @throws ConfigError
 */
export function loadDestination(
  from: Config,
  environment: NodeJS.ProcessEnv = process.env,
): Config {
  const read = settings(environment)
  const folder = read.text('HOLDFAST_TO_DATA', '')
  // Into another folder goes everything that goes nowhere else.
  const { postgres, blobs } = folder ? {} : from
  return Object.freeze({
    ...from,
    data: folder ? resolve(folder) : from.data,
    postgres: postgresSettings(read, 'HOLDFAST_TO_DATABASE_URL') ?? postgres,
    blobs: read.s3Place('HOLDFAST_TO_BLOBS_URL', 'HOLDFAST_TO_') ?? blobs,
  })
}

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/
const PREFIX = /^(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\/?$/
/** What stores at an endpoint of their own mostly do not mind. */
const ENDPOINT_REGION = 'us-east-1'

/** Milliseconds of a number and `s`, `m`, `h` or `d`; undefined for anything else. */
export function durationOf(text: string): number | undefined {
  const [, count, unit = ''] = /^([1-9]\d{0,5})([smhd])$/.exec(text) ?? []
  const milliseconds = UNIT_MS[unit]
  return count && milliseconds ? Number(count) * milliseconds : undefined
}

function postgresSettings(
  read: ReturnType<typeof settings>,
  name = 'HOLDFAST_DATABASE_URL',
): PostgresSettings | undefined {
  const unsafe = read.choice('HOLDFAST_UNSAFE_DATABASE', ['0', '1'], '0') === '1'
  const connections = read.integer('HOLDFAST_DATABASE_CONNECTIONS', 20, 2, 1000)
  const url = read.secret(name)
  if (url === undefined) return undefined
  // Without the value: there is a password in it.
  if (/^postgres(ql)?:\/\//.test(url) && URL.canParse(url)) return { url, unsafe, connections }
  throw new ConfigError(`${name} must be an address that begins with postgres://`)
}

function settings(environment: NodeJS.ProcessEnv) {
  function text(name: string, fallback: string): string {
    return environment[name] || fallback
  }
  function integer(name: string, fallback: number, least: number, most: number): number {
    const value = environment[name] || String(fallback)
    const number = /^\d+$/.test(value) ? Number(value) : Number.NaN
    if (number >= least && number <= most) return number
    throw new ConfigError(`${name} must be a whole number from ${least} to ${most}`)
  }

  /** From the variable itself or from the file that `<name>_FILE` names. */
  function secret(name: string): string | undefined {
    const file = environment[`${name}_FILE`]
    if (!file) return environment[name] || undefined
    let text: string
    try {
      text = readFileSync(file, 'utf8').trim()
    } catch (error) {
      throw new ConfigError(`${name}_FILE cannot be read`, { cause: error })
    }
    // Whoever names a file does not mean that nothing is set.
    if (text === '') throw new ConfigError(`${name}_FILE is empty`)
    return text
  }

  function s3Credentials(prefix: string): S3Credentials | undefined {
    const accessKeyId = secret(`${prefix}AWS_ACCESS_KEY_ID`)
    const secretAccessKey = secret(`${prefix}AWS_SECRET_ACCESS_KEY`)
    const sessionToken = secret(`${prefix}AWS_SESSION_TOKEN`)
    if (!accessKeyId && !secretAccessKey) return undefined
    if (!accessKeyId || !secretAccessKey) {
      throw new ConfigError(
        `${prefix}AWS_ACCESS_KEY_ID and ${prefix}AWS_SECRET_ACCESS_KEY go together`,
      )
    }
    return { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) }
  }

  function list(name: string): string[] {
    return text(name, '')
      .split(/[\s,]+/)
      .filter((entry) => entry !== '')
  }

  return {
    text,
    integer,
    secret,

    /**
     * `s3://bucket/prefix?endpoint=…&region=…`; messages never show it.
     *
     * @param own what the names of its own credentials begin with; without them they are the usual ones
     */
    s3Place(name: string, own = ''): S3Place | undefined {
      const value = environment[name]
      if (!value) return undefined
      const url = URL.canParse(value) ? new URL(value) : undefined
      if (url?.protocol !== 's3:' || !BUCKET.test(url.host) || !PREFIX.test(url.pathname)) {
        throw new ConfigError(`${name} must be like s3://bucket/prefix`)
      }
      if (url.username || url.password) {
        throw new ConfigError(`${name} holds credentials: they belong into the AWS variables`)
      }
      const { endpoint, region: given, ...others } = Object.fromEntries(url.searchParams)
      for (const other of Object.keys(others)) {
        throw new ConfigError(`${name} knows endpoint and region, not ${other}`)
      }
      const region = given || environment.AWS_REGION || environment.AWS_DEFAULT_REGION
      if (!region && !endpoint) throw new ConfigError(`${name} needs a region`)
      const path = url.pathname.replace(/^\/|\/$/g, '')
      return {
        bucket: url.host,
        prefix: path && `${path}/`,
        endpoint: endpoint && endpointAddress(name, endpoint),
        region: region || ENDPOINT_REGION,
        credentials: s3Credentials(own) ?? s3Credentials(''),
      }
    },

    /** MiB, answered in bytes; undefined when it is not set. */
    optionalMb(name: string): number | undefined {
      if (!environment[name]) return undefined
      return integer(name, 0, 1, 1024 ** 3) * 1024 * 1024
    },

    /** In milliseconds. */
    duration(name: string, fallback: string): number {
      const milliseconds = durationOf(text(name, fallback))
      if (milliseconds !== undefined) return milliseconds
      throw new ConfigError(`${name} must be a number of seconds, minutes, hours or days, like 7d`)
    },

    choice<T extends string>(name: string, choices: readonly T[], fallback: T): T {
      const value = text(name, fallback)
      const chosen = choices.find((choice) => choice === value)
      if (chosen) return chosen
      throw new ConfigError(`${name} must be one of ${choices.join(', ')}`)
    },

    url(name: string, fallback: string): string {
      const value = text(name, fallback)
      if (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)) {
        return value.replace(/\/+$/, '')
      }
      throw new ConfigError(`${name} must be an http or https address`)
    },

    list,

    /** Addresses, and networks as `10.0.0.0/8`. */
    networks(name: string): string[] {
      const networks = list(name)
      const wrong = networks.find((network) => !isNetwork(network))
      if (wrong === undefined) return networks
      throw new ConfigError(`${name} has addresses and networks like 10.0.0.0/8, not ${wrong}`)
    },
  }
}

function isNetwork(text: string): boolean {
  const [, address = '', bits] = /^([^/]*)(?:\/([1-9]\d{0,2}))?$/.exec(text) ?? []
  const family = isIP(address)
  return family !== 0 && (bits === undefined || Number(bits) <= (family === 4 ? 32 : 128))
}

function endpointAddress(name: string, value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url && /^https?:$/.test(url.protocol) && !url.username && !url.password && !url.search) {
    return url.href.replace(/\/+$/, '')
  }
  throw new ConfigError(`${name} needs an http or https address as its endpoint`)
}
