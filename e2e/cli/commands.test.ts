import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { databaseSettings } from '../../packages/server/test/helpers/postgres.ts'
import {
  type Ended,
  holdfast,
  holdfastJson,
  holdfastReading,
  oneObject,
  run,
  type ServerProcess,
  type Settings,
  startServerProcess,
} from '../processes.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const TOKEN = /^[0-9A-Za-z]{60}$/
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const UNKNOWN_ID = '00000000-0000-4000-8000-000000000000'

interface SessionJson {
  identity_id: string
  accesstoken: string
  tokentype: string
  csrf_token: string
  expires_at: string
}
interface TokenJson {
  token: string
  id: string
}
interface KeysJson {
  root: Record<string, string>
  epochs: Record<string, unknown>[]
}
interface TokensJson {
  tokens: {
    id: string
    name: string
    created_at: string
    last_used_at: string | null
    expires_at: string | null
  }[]
}

/** Every secret that was printed; none may come up in the server's log. */
const secrets: string[] = []

describe('commands beside a running server', { concurrency: 4 }, () => {
  let settings: Settings
  let server: ServerProcess
  let folder: string
  const cleanups: (() => unknown)[] = []

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-commands-'))
    const suite = { after: (work: () => unknown) => cleanups.push(work) }
    settings = {
      HOLDFAST_DATA: join(folder, 'data'),
      HOLDFAST_LOG_LEVEL: 'trace',
      ...(await databaseSettings(suite)),
    }
    server = await startServerProcess(suite, settings)
  })

  after(async () => {
    for (const cleanup of cleanups) await cleanup()
    const { stdout, stderr } = await server.ended
    await rm(folder, { recursive: true })
    assert.ok(secrets.length > 8 && stderr.includes('answered'))
    for (const secret of secrets) {
      assert.ok(!stdout.includes(secret) && !stderr.includes(secret), 'a secret is in the log')
    }
  })

  async function createPerson(name: string): Promise<{ id: string; email: string }> {
    const email = `${name}@example.com`
    const words = ['user', 'create', '--email', email, '--name', name]
    const { identity_id } = await holdfastJson<{ identity_id: string }>(settings, ...words)
    return { id: identity_id, email }
  }

  async function createSession(email: string, ...more: string[]): Promise<SessionJson> {
    const words = ['session', 'create', '--email', email, ...more]
    const session = await holdfastJson<SessionJson>(settings, ...words)
    secrets.push(session.accesstoken, session.csrf_token)
    return session
  }

  async function createToken(email: string, name: string): Promise<TokenJson> {
    const words = ['token', 'create', '--email', email, '--name', name]
    const made = await holdfastJson<TokenJson>(settings, ...words)
    secrets.push(made.token)
    return made
  }

  async function listTokens(email: string): Promise<TokensJson['tokens']> {
    return (await holdfastJson<TokensJson>(settings, 'token', 'list', '--email', email)).tokens
  }

  function withSession({ accesstoken, tokentype }: SessionJson): RequestInit {
    return { headers: { cookie: `accesstoken=${accesstoken}; tokentype=${tokentype}` } }
  }

  /** The status of a request that a token lets through. */
  async function statusWith(token: string, path: string): Promise<number> {
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(server.address + path, { headers })
    await response.arrayBuffer()
    return response.status
  }

  test('keys new-epoch and rekey give everything new keys, and the running server goes on', async () => {
    const { email } = await createPerson('kay')
    const { token } = await createToken(email, 'before')
    const begun = await holdfastJson(settings, 'keys', 'new-epoch')
    assert.deepEqual(begun, { epoch: 2, kind: 'x25519' })
    const report = await holdfastJson<Record<string, number>>(settings, 'keys', 'rekey')
    const { columns } = report
    assert.deepEqual(report, {
      ...{ current: 2, dropped: [1], left: [], parts: 0, bytes: 0, columns, damaged: 0 },
    })
    assert.ok(Number(columns) > 1)
    const { root, epochs } = await holdfastJson<KeysJson>(settings, 'keys', 'status')
    assertKeys(root, ['kind', 'recipient'])
    assert.match(String(root.recipient), /^age1[a-z0-9]{58}$/)
    assert.equal(epochs.length, 1)
    const [epoch = {}] = epochs
    assert.match(String(epoch.created_at), INSTANT)
    assert.ok(Number(epoch.columns) >= Number(columns))
    assert.deepEqual(epoch, {
      ...{ epoch: 2, state: 'current', kind: 'x25519', created_at: epoch.created_at },
      ...{ parts: 0, bytes: 0, small_contents: 0, columns: epoch.columns },
    })
    assert.equal(await statusWith(token, '/api/files'), 200)
  })

  test('user create makes a person, and answers her id and address', async () => {
    const email = 'ann@example.com'
    const words = ['user', 'create', '--email', email, '--name', 'Ann', '--timezone', 'Asia/Tokyo']
    const made = await holdfastJson<Record<string, string>>(settings, ...words)
    assertKeys(made, ['email', 'identity_id'])
    assert.match(String(made.identity_id), UUID)
    assert.equal(made.email, email)
    assertRefused(await holdfast(settings, ...words, '--json'), 1, /address/)
  })

  test('user create refuses what is no address or no time zone', async () => {
    const create = ['user', 'create', '--name', 'Bob', '--email']
    assertRefused(await holdfast(settings, ...create, 'bob'), 1, /e-mail/)
    const words = [...create, 'bob@example.com', '--timezone', 'Mars/Olympus']
    assertRefused(await holdfast(settings, ...words), 1, /Mars\/Olympus/)
    assertRefused(await holdfast(settings, 'token', 'list', '--email', 'bob@example.com'), 1, /./)
  })

  test('user set changes what is given, and the running server shows it', async () => {
    const carl = await createPerson('carl')
    const session = await createSession(carl.email)
    const words = ['user', 'set', '--email', carl.email, '--name', 'Carl the Second']
    const changed = await holdfastJson(settings, ...words)
    assert.deepEqual(changed, { identity_id: carl.id, email: carl.email })

    const shown = await fetch(`${server.address}/identities/${carl.id}`, withSession(session))
    assert.equal(shown.status, 200)
    const { display_name } = (await shown.json()) as { display_name: string }
    assert.equal(display_name, 'Carl the Second')

    const zone = ['user', 'set', '--email', carl.email, '--timezone', 'Nowhere']
    assertRefused(await holdfast(settings, ...zone), 1, /Nowhere/)
    const unknown = ['user', 'set', '--email', 'nobody@example.com', '--name', 'N']
    assertRefused(await holdfast(settings, ...unknown), 1, /nobody/)
  })

  test('user set reads a PIN from standard input', async () => {
    const { email } = await createPerson('pia')
    const session = await createSession(email)
    const me = { headers: { authorization: `Bearer ${session.accesstoken}` } }
    async function hasPin(): Promise<unknown> {
      const response = await fetch(`${server.address}/v1/me`, me)
      return ((await response.json()) as { has_pin: unknown }).has_pin
    }
    const words = ['user', 'set', '--email', email, '--pin-stdin', '--json']
    for (const pin of ['', '123\n']) {
      assertRefused(await holdfastReading(settings, pin, ...words), 1, /PIN/)
      assert.equal(await hasPin(), false)
    }
    const pin = '8301-secret-4477'
    secrets.push(pin)
    const set = await holdfastReading(settings, `${pin}\n`, ...words)
    assert.equal(set.code, 0)
    assertKeys(oneObject(set.stdout), ['email', 'identity_id'])
    assert.equal(await hasPin(), true)
  })

  test('session create answers what a client needs, and works at once', async () => {
    const dora = await createPerson('dora')
    const before = Date.now()
    const session = await createSession(dora.email)
    assertKeys(session, ['accesstoken', 'csrf_token', 'expires_at', 'identity_id', 'tokentype'])
    assert.equal(session.identity_id, dora.id)
    assert.match(session.accesstoken, TOKEN)
    assert.equal(session.tokentype, 'bearer')
    assert.match(session.expires_at, INSTANT)
    assert.ok(Date.parse(session.expires_at) > before)

    const url = `${server.address}/auth/logout`
    const request = { method: 'POST', ...withSession(session) }
    const refused = await fetch(url, request)
    assert.equal(refused.status, 403, 'without the CSRF token')
    const headers = { ...request.headers, 'x-csrf-token': session.csrf_token }
    assert.equal((await fetch(url, { ...request, headers })).status, 204)
    const ended = await fetch(`${server.address}/identities/${dora.id}`, withSession(session))
    assert.equal(ended.status, 401)
  })

  test('session create takes a level of assurance from 1 to 4', async () => {
    const { email } = await createPerson('emil')
    const weak = await createSession(email, '--acr', '1')
    const url = `${server.address}/identities/pubkey?identifier_value=${email}`
    assert.equal((await fetch(url, withSession(weak))).status, 403)
    const strong = await createSession(email, '--acr', '4')
    assert.equal((await fetch(url, withSession(strong))).status, 200)
    const words = ['session', 'create', '--email', email, '--acr', '5']
    assertRefused(await holdfast(settings, ...words), 2, /acr/)
    const unknown = ['session', 'create', '--email', 'nobody@example.com', '--json']
    assertRefused(await holdfast(settings, ...unknown), 1, /nobody/)
  })

  test('token create, list and revoke', async () => {
    const { email } = await createPerson('fred')
    assert.deepEqual(await listTokens(email), [])
    const first = await createToken(email, 'Backup of fred')
    assertKeys(first, ['id', 'token'])
    assert.match(first.token, TOKEN)
    assert.match(first.id, UUID)
    const second = await createToken(email, 'Another')

    const listed = await listTokens(email)
    assert.deepEqual(new Set(listed.map(({ id }) => id)), new Set([first.id, second.id]))
    const shown = listed.find(({ id }) => id === first.id)
    const { created_at: createdAt, ...rest } = shown as TokensJson['tokens'][number]
    assert.match(createdAt, INSTANT)
    assert.deepEqual(rest, {
      id: first.id,
      name: 'Backup of fred',
      last_used_at: null,
      expires_at: null,
    })
    assert.ok(!JSON.stringify(listed).includes(first.token), 'shown once')

    const revoked = await holdfastJson(settings, 'token', 'revoke', '--id', first.id)
    assert.deepEqual(revoked, { id: first.id })
    assert.deepEqual(
      (await listTokens(email)).map(({ id }) => id),
      [second.id],
    )
    assertRefused(await holdfast(settings, 'token', 'revoke', '--id', first.id), 1, /token/)
    const unknown = ['token', 'create', '--email', 'nobody@example.com', '--name', 'T']
    assertRefused(await holdfast(settings, ...unknown), 1, /nobody/)
  })

  test('a token counts for the running server from its making to its end', async () => {
    const { email } = await createPerson('gus')
    const { token, id } = await createToken(email, 'Used')
    assert.equal(await statusWith(token, '/api/files'), 200)
    const [used] = await listTokens(email)
    assert.match(String(used?.last_used_at), INSTANT)
    await holdfastJson(settings, 'token', 'revoke', '--id', id)
    assert.equal(await statusWith(token, '/api/files'), 401)
  })

  test('company create and app create; the token works at once', async () => {
    const owner = await createPerson('hal')
    const member = await createPerson('ida')
    const words = ['company', 'create', '--name', 'Acme', '--owner', owner.email]
    const company = await holdfastJson<{ company_id: string }>(
      settings,
      ...words,
      ...['--manager', member.email, '--member', owner.email, member.email],
    )
    assertKeys(company, ['company_id'])
    assert.match(company.company_id, UUID)

    const create = ['app', 'create', '--name', 'Robot', '--company']
    const app = await holdfastJson<{ app_id: string; token: string }>(
      settings,
      ...create,
      company.company_id,
    )
    secrets.push(app.token)
    assertKeys(app, ['app_id', 'token'])
    assert.match(app.app_id, UUID)
    assert.match(app.token, TOKEN)
    const path = '/identities/pubkey?identifier_value=nobody@example.com'
    assert.equal(await statusWith(app.token, path), 200)

    assertRefused(await holdfast(settings, ...words, 'nobody@example.com'), 1, /nobody/)
    assertRefused(await holdfast(settings, ...create, UNKNOWN_ID), 1, /company/)
  })

  test('previews says what is shown on this machine, and over the network only who may read metrics', async () => {
    const report = await holdfastJson<Record<string, unknown>>(settings, 'previews')
    const { kinds, isolation } = await server.logged('previews')
    assert.deepEqual(report, { isolation, kinds, waiting: 0, failed: 0 })
    assert.deepEqual(Object.keys(kinds as object), ['image', 'pdf', 'office', 'video'])
    const off = { ...settings, HOLDFAST_PREVIEW_MAX_MB: '0' }
    const { stdout } = await holdfast(off, 'previews')
    const isOff = ['image', 'pdf', 'office', 'video'].map((kind) => `${kind}: off\n`).join('')
    assert.equal(stdout, `${isOff}isolation: none\n0 files wait, 0 could not be shown\n`)
  })

  test('--json stands before or behind the words; without it a person is spoken to', async () => {
    const { email } = await createPerson('jane')
    const list = ['token', 'list', '--email', email]
    const behind = await holdfast(settings, ...list, '--json')
    const before = await holdfast(settings, '--json', ...list)
    for (const { code, stdout, stderr } of [behind, before]) {
      assert.deepEqual(
        { code, stderr, json: oneObject(stdout) },
        { code: 0, stderr: '', json: { tokens: [] } },
      )
    }
    const spoken = await holdfast(settings, ...list)
    assert.deepEqual(spoken, { code: 0, stdout: 'No tokens\n', stderr: '' })

    const { token, id } = await createToken(email, 'Morning')
    assert.equal((await holdfast(settings, ...list)).stdout, `${id}  Morning\n`)
    assert.equal(
      (await holdfast(settings, 'token', 'revoke', '--id', id)).stdout,
      `Revoked ${id}\n`,
    )
    assert.notEqual(token, '')
    const session = await holdfast(settings, 'session', 'create', '--email', email)
    const lines =
      /^Cookie: accesstoken=(\w{60}); tokentype=bearer\nX-CSRF-Token: (\S+)\nUntil \S+Z\n$/
    assert.match(session.stdout, lines)
    secrets.push(...(lines.exec(session.stdout)?.slice(1) ?? []))
    const renamed = await holdfast(settings, 'user', 'set', '--email', email, '--name', 'Jane D.')
    assert.match(renamed.stdout, /^Changed jane@example\.com \(\S+\)\n$/)
  })

  test('npx holdfast is the same command', async () => {
    const { email } = await createPerson('kim')
    const words = ['--no-install', 'holdfast', 'token', 'list', '--email', email, '--json']
    const { code, stdout } = await run('npx', words, settings)
    assert.equal(code, 0)
    assert.deepEqual(oneObject(stdout), { tokens: [] })
  })

  test('words that make no command are refused in one line, and --help is not', async () => {
    for (const words of [
      ['nosuch'],
      ['user', 'create', '--email', 'x@example.com'],
      ['user', 'create', '--email', 'x@example.com', '--name', 'X', '--colour', 'red'],
      ['token', 'list', '--email', 'x@example.com', 'more'],
      ['token', 'revoke', '--id'],
    ]) {
      assertRefused(await holdfast(settings, ...words, '--json'), 2, /./)
    }
    const nothing = await holdfast(settings)
    assert.equal(nothing.code, 2)
    assert.equal(nothing.stdout, '')
    const help = await holdfast(settings, 'user', 'create', '--help')
    assert.equal(help.code, 0)
    assert.match(help.stdout, /--email <email>/)
    assert.equal(help.stderr, '')
  })
})

function assertKeys(object: object, keys: readonly string[]): void {
  assert.deepEqual(new Set(Object.keys(object)), new Set(keys))
}

/** Nothing on stdout, one line on stderr that says what is wrong. */
function assertRefused(ended: Ended, code: number, reason: RegExp): void {
  assert.equal(ended.stdout, '')
  assert.match(ended.stderr, /^holdfast: [^\n]+\n$/)
  assert.match(ended.stderr, reason)
  assert.equal(ended.code, code, ended.stderr)
}
