import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Config, loadConfig } from '../packages/server/src/config.ts'
import { testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { svg } from '../packages/server/test/helpers/pictures.ts'
import { databaseSettings, onPostgres } from '../packages/server/test/helpers/postgres.ts'
import { uploadForm } from '../packages/server/test/helpers/server.ts'
import { filesBelow, rowsOf } from '../packages/server/test/helpers/store.ts'
import { createFinder, isIn, writingsOf } from '../packages/server/test/helpers/writings.ts'
import { createSession, holdfastJson, startServerProcess } from './processes.ts'

/**
 * Words that stand in everything a person writes or names. None must be readable where the data lie:
 * whoever steals the folder, or reads the log, learns none of them.
 */
const MARKERS = {
  person: 'Quixomarten',
  address: 'zylophagus',
  domain: 'krumblethwack',
  timeZone: 'America/Argentina/ComodRivadavia',
  company: 'Vexilliform',
  application: 'Drosswhistle',
  tokenName: 'Plinthmonger',
  box: 'Gallowtrumpet',
  message: 'Snorkelbrine',
  edited: 'Wobblefrost',
  publicKey: 'Marzipankeyword',
  share: 'Tuskerivory',
  invitation: 'Bramblequill',
  fileName: 'Thimbleratchet',
  small: 'Hedgeflummox',
  large: 'Cantripmoss',
  picture: 'Fiddlewhisker',
  metadata: 'Oubliettewick',
  fingerprint: 'Jabberspindle',
}

test('nothing that people write, name or sign in with can be read in the data folder or the log', async (t) => {
  const data = join(await testFolder(t), 'data')
  const database = await databaseSettings(t)
  const settings = { HOLDFAST_DATA: data, HOLDFAST_LOG_LEVEL: 'trace', ...database }
  const server = await startServerProcess(t, settings)
  const secrets = await fillStore(server.address, settings)

  const places = [
    ['the log', Buffer.from(server.stderr())],
    ['the output', Buffer.from(server.stdout())],
    ...(await contentOf(loadConfig(settings))),
    ...(await Promise.all(
      (
        await filesBelow(data)
      ).map(async (name) => [name, await readFile(join(data, name))] as const),
    )),
  ] as const
  const names = places.map(([name]) => name)
  const embedded = ['holdfast.db', 'holdfast.db-wal', 'holdfast.db-shm']
  for (const name of [...(onPostgres ? ['blob_part'] : embedded), 'keyring/1.age']) {
    assert.ok(names.includes(name), `${name} was looked into`)
  }
  assert.ok(names.some((name) => name.startsWith('blobs/')))
  assert.ok(server.stderr().includes('/boxes'), 'requests were logged')

  const found = places.flatMap(([name, bytes]) =>
    [...Object.values(MARKERS), ...secrets]
      .filter((text) => isIn(bytes, text))
      .map((text) => `${text} in ${name}`),
  )
  assert.deepEqual(found, [])
})

/** The bytes of all values of a database that is not in the folder, by table. */
async function contentOf(config: Config): Promise<[string, Buffer][]> {
  if (!config.postgres) return []
  const tables = await rowsOf<{ name: string }>(
    config,
    `select table_name as name from information_schema.tables where table_schema = 'public'`,
  )
  return Promise.all(
    tables.map(async ({ name }): Promise<[string, Buffer]> => {
      const values = (await rowsOf(config, `select * from ${name}`)).flatMap(Object.values)
      return [
        name,
        Buffer.concat(
          values.map((value) => Buffer.from(value instanceof Uint8Array ? value : `${value}\n`)),
        ),
      ]
    }),
  )
}

test('the search for a word finds it however it is written', () => {
  const word = 'Quixomarten'
  const finder = createFinder(new Map([[word, writingsOf(word)]]))
  for (const text of [
    `x${word}x`,
    word.toUpperCase(),
    word.toLowerCase(),
    Buffer.from(`1${word}`).toString('base64'),
    Buffer.from(`12${word}`).toString('base64url'),
    Buffer.from(`123${word}4`).toString('base64'),
    Buffer.from(word).toString('hex'),
    Buffer.from(word).toString('hex').toUpperCase(),
    [...Buffer.from(word)].map((byte) => `%${byte.toString(16)}`).join(''),
  ]) {
    const bytes = Buffer.from(`before ${text} behind`)
    assert.ok(isIn(bytes, word), text)
    assert.deepEqual(finder.find(bytes), [word], text)
  }
  assert.ok(isIn(Buffer.from(`x${word}`, 'utf16le'), word))
  assert.ok(isIn(Buffer.from(word, 'utf16le').swap16(), word))
  assert.ok(!isIn(Buffer.from('Quixomarte n'), word))
  assert.deepEqual(finder.find(Buffer.from('Quixomarte n')), [])
})

/** Makes one of everything, with markers in it; answers what signs people in. */
async function fillStore(address: string, settings: Record<string, string>): Promise<string[]> {
  const { person, domain, message, publicKey } = MARKERS
  const email = `${MARKERS.address}@${domain}.example`
  await holdfastJson(
    settings,
    'user',
    'create',
    '--email',
    email,
    '--name',
    person,
    '--timezone',
    MARKERS.timeZone,
  )
  const company = await holdfastJson<{ company_id: string }>(
    settings,
    'company',
    'create',
    '--name',
    MARKERS.company,
    '--owner',
    email,
  )
  const app = await holdfastJson<{ token: string }>(
    settings,
    'app',
    'create',
    '--company',
    company.company_id,
    '--name',
    MARKERS.application,
  )
  const token = await holdfastJson<{ token: string }>(
    settings,
    'token',
    'create',
    '--email',
    email,
    '--name',
    MARKERS.tokenName,
  )
  const { id, headers, accessToken, csrfToken } = await createSession(settings, email)

  async function send(method: string, path: string, body: unknown): Promise<{ id: string }> {
    const form = body instanceof FormData
    const response = await fetch(`${address}${path}`, {
      method,
      headers: form ? headers : { ...headers, 'content-type': 'application/json' },
      body: form ? body : JSON.stringify(body),
    })
    const text = await response.text()
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`)
    return text ? JSON.parse(text) : { id: '' }
  }

  const box = await send('POST', '/boxes', {
    title: MARKERS.box,
    public_key: publicKey,
    key_share: {
      misakey_share: MARKERS.share,
      other_share_hash: 'aGFzaCBvZiB0aGUgb3RoZXIgc2hhcmU',
      encrypted_invitation_key_share: MARKERS.invitation,
    },
  })
  const events = `/boxes/${box.id}/events`
  const content = (encrypted: string) => ({ encrypted, public_key: publicKey })
  const text = await send('POST', events, { type: 'msg.text', content: content(message) })
  await send('POST', events, {
    type: 'msg.edit',
    referrer_id: text.id,
    content: { new_encrypted: MARKERS.edited, new_public_key: publicKey },
  })
  const files = `/boxes/${box.id}/encrypted-files`
  const small = Buffer.from(`${MARKERS.small} `.repeat(100))
  const large = Buffer.from(`${MARKERS.large} `.repeat(20_000))
  await send('POST', files, uploadForm(small, message))
  await send('POST', files, uploadForm(large, message))
  await savedFile(send, id, large)
  await fetch(`${address}/boxes?title=${person}`, { headers }).then((answer) =>
    answer.arrayBuffer(),
  )

  for (const bearer of [app.token, token.token]) {
    await accountFile(address, bearer, small)
    await accountFile(address, bearer, large)
  }
  await companyFile(address, company.company_id, app.token)
  return [app.token, token.token, accessToken, csrfToken]
}

/** Uploads a file into the account of a token's owner, and searches for it. */
async function accountFile(address: string, bearer: string, bytes: Buffer): Promise<void> {
  const headers = { authorization: `Bearer ${bearer}` }
  const form = new FormData()
  form.append('file', new Blob([new Uint8Array(bytes)]), `${MARKERS.fileName}.pdf`)
  const stored = await fetch(`${address}/api/files`, { method: 'POST', headers, body: form })
  assert.ok(stored.ok, `upload: ${stored.status} ${await stored.text()}`)
  const listed = await fetch(`${address}/api/files?search=${MARKERS.fileName}`, { headers })
  assert.ok(listed.ok, `search: ${listed.status}`)
  assert.ok((await listed.text()).includes(MARKERS.fileName), 'what was stored is found')
}

/** Uploads a picture with a text into the company, and waits until it is shown. */
async function companyFile(address: string, companyId: string, bearer: string): Promise<void> {
  const text = `<text y="50">${MARKERS.picture}</text>`
  const form = new FormData()
  const picture = svg(text.repeat(5000)) as Uint8Array<ArrayBuffer>
  form.append('file', new Blob([picture]), `${MARKERS.fileName}.svg`)
  const files = `${address}/internal/services/files/v1/companies/${companyId}/files`
  const answer = await fetch(`${files}?thumbnail_sync=1`, {
    method: 'POST',
    headers: { authorization: `Bearer ${bearer}` },
    body: form,
  })
  const { resource } = (await answer.json()) as { resource: { thumbnails: unknown[] } }
  assert.equal(resource.thumbnails.length, 1)
}

async function savedFile(
  send: (method: string, path: string, body: unknown) => Promise<unknown>,
  identityId: string,
  bytes: Buffer,
): Promise<void> {
  const form = new FormData()
  form.append('encrypted_file', new Blob([new Uint8Array(bytes)]), `${MARKERS.large}.pdf`)
  form.append('encrypted_metadata', MARKERS.metadata)
  form.append('key_fingerprint', MARKERS.fingerprint)
  await send('POST', `/box-users/${identityId}/saved-files`, form)
}
