import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { refusedStart } from '../../../../e2e/processes.ts'
import { type Config, ConfigError, loadConfig, loadDestination } from '../../src/config.ts'
import { testFolder } from '../helpers/cleanup.ts'

const MIB = 1024 * 1024
const BUCKET = {
  bucket: 'files',
  prefix: '',
  endpoint: undefined,
  region: 'us-east-1',
  credentials: undefined,
}

describe('settings', () => {
  test('nothing is set', () => {
    assert.deepEqual(loadConfig({}), {
      host: '127.0.0.1',
      port: 8420,
      data: resolve('data'),
      blobs: undefined,
      rootKeyFile: resolve('data.key'),
      recipient: 'x25519',
      postgres: undefined,
      publicUrl: 'http://127.0.0.1:8420',
      publicUrlFromProxy: false,
      trustedProxies: [],
      allowedOrigins: [],
      boxFileMaxMb: 8,
      smallLimit: 65_536,
      accountFileMax: undefined,
      accountQuota: undefined,
      apiRateLimit: 300,
      quotaRules: { base: 100 * MIB, enforced: false },
      companyQuota: undefined,
      uploadExpiry: 7 * 24 * 3600 * 1000,
      twakeJwtSecret: undefined,
      metricsToken: undefined,
      previewMax: 50 * MIB,
      scrubRate: 8 * 1024 * 1024,
      logLevel: 'info',
    } satisfies Config)
  })

  const ACCEPTED: [NodeJS.ProcessEnv, Partial<Config>][] = [
    [
      { HOLDFAST_HOST: '0.0.0.0', HOLDFAST_PORT: '80' },
      { host: '0.0.0.0', port: 80, publicUrl: 'http://0.0.0.0:80' },
    ],
    [{ HOLDFAST_HOST: '::1' }, { host: '::1', publicUrl: 'http://[::1]:8420' }],
    [{ HOLDFAST_PORT: '65535' }, { port: 65_535 }],
    [{ HOLDFAST_DATA: '/srv/files' }, { data: '/srv/files', rootKeyFile: '/srv/files.key' }],
    [{ HOLDFAST_ROOT_KEY_FILE: 'keys/root' }, { rootKeyFile: resolve('keys/root') }],
    [{ HOLDFAST_RECIPIENT: 'hybrid' }, { recipient: 'hybrid' }],
    [
      { HOLDFAST_PUBLIC_URL: 'https://files.example.com//' },
      { publicUrl: 'https://files.example.com' },
    ],
    [
      { HOLDFAST_TRUSTED_PROXIES: '10.0.0.0/8, 192.0.2.1' },
      { trustedProxies: ['10.0.0.0/8', '192.0.2.1'], publicUrlFromProxy: true },
    ],
    [
      { HOLDFAST_TRUSTED_PROXIES: '::1', HOLDFAST_PUBLIC_URL: 'https://files.example.com' },
      { trustedProxies: ['::1'], publicUrlFromProxy: false },
    ],
    [
      { HOLDFAST_ALLOWED_ORIGINS: 'https://a.example https://b.example' },
      { allowedOrigins: ['https://a.example', 'https://b.example'] },
    ],
    [{ HOLDFAST_BOX_FILE_MAX_MB: '4096' }, { boxFileMaxMb: 4096 }],
    [{ HOLDFAST_SMALL_MAX_KB: '0' }, { smallLimit: 0 }],
    [{ HOLDFAST_SMALL_MAX_KB: '256' }, { smallLimit: 256 * 1024 }],
    [
      { HOLDFAST_QUOTA_MB: '5', HOLDFAST_QUOTA_ENFORCED: '1' },
      { quotaRules: { base: 5 * MIB, enforced: true } },
    ],
    [
      { HOLDFAST_ACCOUNT_FILE_MAX_MB: '2', HOLDFAST_ACCOUNT_QUOTA_MB: '3' },
      { accountFileMax: 2 * MIB, accountQuota: 3 * MIB },
    ],
    [{ HOLDFAST_API_RATE_LIMIT: '0' }, { apiRateLimit: 0 }],
    [{ HOLDFAST_COMPANY_QUOTA_MB: '5' }, { companyQuota: 5 * MIB }],
    [{ HOLDFAST_UPLOAD_EXPIRY: '90s' }, { uploadExpiry: 90_000 }],
    [{ HOLDFAST_UPLOAD_EXPIRY: '12h' }, { uploadExpiry: 12 * 3600 * 1000 }],
    [{ HOLDFAST_PREVIEW_MAX_MB: '0' }, { previewMax: 0 }],
    [{ HOLDFAST_METRICS_TOKEN: 'opensesame' }, { metricsToken: 'opensesame' }],
    [{ HOLDFAST_LOG_LEVEL: 'warn' }, { logLevel: 'warn' }],
    [
      { HOLDFAST_BLOBS_URL: 's3://files?region=eu-west-3' },
      { blobs: { ...BUCKET, prefix: '', endpoint: undefined, region: 'eu-west-3' } },
    ],
    [
      { HOLDFAST_BLOBS_URL: 's3://files/', AWS_REGION: 'eu-west-3' },
      { blobs: { ...BUCKET, prefix: '', endpoint: undefined, region: 'eu-west-3' } },
    ],
    [
      { HOLDFAST_BLOBS_URL: 's3://files/teams/one/?endpoint=http://127.0.0.1:7480/' },
      { blobs: { ...BUCKET, prefix: 'teams/one/', endpoint: 'http://127.0.0.1:7480' } },
    ],
    [
      { HOLDFAST_BLOBS_URL: 's3://files?endpoint=HTTPS://S3.Example:443/' },
      { blobs: { ...BUCKET, endpoint: 'https://s3.example' } },
    ],
    [
      {
        HOLDFAST_BLOBS_URL: 's3://files?region=here',
        AWS_ACCESS_KEY_ID: 'id',
        AWS_SECRET_ACCESS_KEY: 'secret',
        AWS_SESSION_TOKEN: 'token',
      },
      {
        blobs: {
          ...BUCKET,
          region: 'here',
          credentials: { accessKeyId: 'id', secretAccessKey: 'secret', sessionToken: 'token' },
        },
      },
    ],
    // Set to nothing is not set: what compose files and unit files do with empty variables.
    [
      { HOLDFAST_PORT: '', HOLDFAST_RECIPIENT: '', HOLDFAST_DATABASE_URL: '' },
      { port: 8420, recipient: 'x25519' },
    ],
  ]
  for (const [environment, expected] of ACCEPTED) {
    test(`accepted: ${JSON.stringify(environment)}`, () => {
      const config = loadConfig(environment)
      assert.deepEqual({ ...config, ...expected }, config)
    })
  }

  const REFUSED: Record<string, string[]> = {
    HOLDFAST_PORT: ['http', '-1', '65536', '1.5', '0x50', ' 80'],
    HOLDFAST_RECIPIENT: ['rsa', 'X25519'],
    HOLDFAST_PUBLIC_URL: ['files.example.com', 'ftp://example.com', 'http://'],
    HOLDFAST_TRUSTED_PROXIES: [
      'proxy',
      '10.0.0.0/33',
      '10.0.0.0/0',
      '10.0.0/8',
      '::1/129',
      '::1,*',
    ],
    HOLDFAST_BOX_FILE_MAX_MB: ['0', 'big', '8MB', '1048577'],
    HOLDFAST_SMALL_MAX_KB: ['257', '-1', '64k'],
    HOLDFAST_ACCOUNT_FILE_MAX_MB: ['0', 'none'],
    HOLDFAST_ACCOUNT_QUOTA_MB: ['0', '-5'],
    HOLDFAST_API_RATE_LIMIT: ['off', '-1', '1000001'],
    HOLDFAST_QUOTA_MB: ['-1', 'all'],
    HOLDFAST_COMPANY_QUOTA_MB: ['0', 'all'],
    HOLDFAST_UPLOAD_EXPIRY: ['7', '0d', '7w', '1.5d', 'never', '7 d'],
    HOLDFAST_TWAKE_JWT_SECRET_FILE: ['/nonexistent/secret'],
    HOLDFAST_QUOTA_ENFORCED: ['yes', 'true'],
    HOLDFAST_METRICS_TOKEN_FILE: ['/nonexistent/token'],
    HOLDFAST_LOG_LEVEL: ['loud'],
    HOLDFAST_DATABASE_URL: ['mysql://example.com/holdfast', 'holdfast', 'postgres://[/holdfast'],
    HOLDFAST_UNSAFE_DATABASE: ['yes'],
    HOLDFAST_DATABASE_CONNECTIONS: ['1', 'many'],
    HOLDFAST_BLOBS_URL: [
      '/srv/blobs',
      'https://bucket.example.com',
      's3://bucket',
      's3://b?region=here',
      's3://Bucket?region=here',
      's3://bucket/a//b?region=here',
      's3://bucket/../b%2f?region=here',
      's3://id:secret@bucket?region=here',
      's3://bucket?region=here&path-style=1',
      's3://bucket?endpoint=127.0.0.1:7480',
      's3://bucket?endpoint=http://id:secret@127.0.0.1:7480',
    ],
  }
  for (const [name, values] of Object.entries(REFUSED)) {
    test(`refused: ${name}=${values.join(' or ')}`, () => {
      for (const value of values) {
        assert.throws(
          () => loadConfig({ [name]: value }),
          (error) => error instanceof ConfigError && error.message.startsWith(`${name} `),
          `${name}=${value}`,
        )
      }
    })
  }

  test('a secret can be read from a file', async (t) => {
    const file = join(await testFolder(t), 'token')
    await writeFile(file, 'from the file\n')
    assert.equal(loadConfig({ HOLDFAST_METRICS_TOKEN_FILE: file }).metricsToken, 'from the file')
  })

  test('a store goes where HOLDFAST_TO_… says, and stays where it is but for that', () => {
    const from = loadConfig({
      HOLDFAST_DATA: '/srv/old',
      HOLDFAST_BLOBS_URL: 's3://files?region=r',
    })
    const credentials = { accessKeyId: 'id', secretAccessKey: 'secret' }
    const rows = { HOLDFAST_TO_DATABASE_URL: 'postgres://db/new' }
    const postgres = { url: 'postgres://db/new', unsafe: false, connections: 20 }
    const keys = { AWS_ACCESS_KEY_ID: 'old', AWS_SECRET_ACCESS_KEY: 'old' }
    const objects = {
      ...keys,
      HOLDFAST_TO_BLOBS_URL: 's3://files?endpoint=http://127.0.0.1:7480',
      HOLDFAST_TO_AWS_ACCESS_KEY_ID: 'id',
      HOLDFAST_TO_AWS_SECRET_ACCESS_KEY: 'secret',
    }
    const bucket = { ...BUCKET, endpoint: 'http://127.0.0.1:7480', credentials }
    const folder = { HOLDFAST_TO_DATA: '/srv/new' }
    assert.deepEqual(loadDestination(from, {}), from)
    assert.deepEqual(loadDestination(from, rows), { ...from, postgres })
    assert.deepEqual(loadDestination(from, objects), { ...from, blobs: bucket })
    assert.deepEqual(loadDestination(from, folder), {
      ...{ ...from, data: '/srv/new', blobs: undefined },
    })
    assert.deepEqual(loadDestination(from, { ...folder, ...objects, ...rows }), {
      ...{ ...from, data: '/srv/new', blobs: bucket, postgres },
    })
    for (const name of ['HOLDFAST_TO_DATABASE_URL', 'HOLDFAST_TO_BLOBS_URL']) {
      assert.throws(
        () => loadDestination(from, { [name]: 'nowhere' }),
        new RegExp(`^ConfigError: ${name} `),
      )
    }
  })

  test('half of the credentials is none', () => {
    const HOLDFAST_BLOBS_URL = 's3://bucket?region=here'
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) {
      assert.throws(
        () => loadConfig({ HOLDFAST_BLOBS_URL, [name]: 'x' }),
        new ConfigError('AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together'),
      )
    }
  })

  test('the server refuses each of them with exit code 2, and makes nothing', async (t) => {
    const folder = await testFolder(t)
    for (const [name, value] of [
      ['HOLDFAST_PORT', 'http'],
      ['HOLDFAST_DATABASE_URL', 'mysql://example.com/holdfast'],
      ['HOLDFAST_BLOBS_URL', 's3://bucket'],
    ] as const) {
      const { code, stdout, stderr } = await refusedStart({
        HOLDFAST_DATA: join(folder, 'data'),
        [name]: value,
      })
      assert.match(stderr, new RegExp(`^holdfast: ${name} [^\\n]+\\n$`))
      assert.deepEqual({ code, stdout }, { code: 2, stdout: '' })
    }
    assert.deepEqual(await readdir(folder), [])
  })
})
