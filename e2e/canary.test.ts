/**
 * A run of everything with marked content, names and secrets: uploads in all dialects, overwrites,
 * deletions, previews, refusals, commands, kills in the middle of uploads, the most talkative log. Then every file
 * of the data folder, all that the processes printed, their temporary folder, shared memory, and what
 * the system shows of the running process are searched for the marks, in every usual writing.
 *
 * Not searched for: compressed forms, since nothing here compresses. In the database, but never in a
 * log, stands the hash by which a box key share is asked for.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { fileForm, filesPath, type Resource } from '../packages/server/test/helpers/companies.ts'
import { jpeg, pdf, svg } from '../packages/server/test/helpers/pictures.ts'
import { uploadForm } from '../packages/server/test/helpers/server.ts'
import { filesBelow } from '../packages/server/test/helpers/store.ts'
import {
  base64Of,
  createFinder,
  type Finder,
  writingsOf,
} from '../packages/server/test/helpers/writings.ts'
import { film, flatText } from './preview-files.ts'
import {
  createSession,
  holdfast,
  holdfastJson,
  holdfastReading,
  type ServerProcess,
  type Settings,
  startServerProcess,
} from './processes.ts'
import { hasTool } from './tools.ts'

const KILLS = 5
const LARGE = 3 * 1024 * 1024
const CHUNK = 65_536

/** What people write and call things; each word stands nowhere else. */
const WORDS = {
  person: 'Quixomarten',
  address: 'zylophagus',
  company: 'Vexilliform',
  application: 'Drosswhistle',
  tokenName: 'Plinthmonger',
  box: 'Gallowtrumpet',
  message: 'Snorkelbrine',
  edited: 'Wobblefrost',
  share: 'Tuskerivory',
  invitation: 'Bramblequill',
  accountFile: 'Thimbleratchet',
  companyFile: 'Fernickelbat',
  overwritten: 'Grommetlisk',
  metadata: 'Oubliettewick',
  fingerprint: 'Jabberspindle',
  content: 'Hedgeflummox',
  secondContent: 'Cantripmoss',
  shown: 'Velvetscuttle',
  search: 'Mizzlethorn',
  wrongPath: 'Kettlewhimsy',
  wrongBody: 'Pumperknell',
}
const EMAIL = `${WORDS.address}@example.com`
const PIN = 'pin-Skirlwort-8'
const SHARE_HASH = Buffer.from('Brindlehasp of a share').toString('base64url')

/** Bytes that stand in contents, as they are in no language. */
const BINARY = [randomBytes(24), randomBytes(24)]

interface Run {
  readonly data: string
  /** Of the server: whatever it makes there is searched too. */
  readonly temporary: string
  readonly settings: Settings
  server: ServerProcess
  /** Files that were looked into, with size and time. */
  readonly searched: Set<string>
  /** Everything that lets somebody in. */
  readonly secrets: string[]
}

test('nothing that was marked is found outside of what was sealed, whatever happens', async (t) => {
  const sharedBefore = await sharedMemory()
  const run = await start(t)
  const clients = await createClients(run)
  await useEverything(run, clients)
  await useAccountFiles(run, clients)
  for (let round = 0; round < KILLS; round += 1) {
    // They are cut while nobody waits for them yet.
    const uploads = Promise.allSettled(unfinishedUploads(run, clients))
    await sleep(30 + 60 * round)
    await search(run, `before kill ${round}`)
    await run.server.kill()
    await uploads
    await search(run, `after kill ${round}`)
    await startAgain(t, run)
  }
  await useEverything(run, clients)
  assert.match(run.server.stderr(), /"msg":"answered"/, 'requests were logged')
  await search(run, 'at the end')
  await searchProcess(run)
  const { code } = await run.server.stop()
  assert.equal(code, 0)
  await search(run, 'after the end')

  const shared = (await sharedMemory()).filter((name) => !sharedBefore.includes(name))
  for (const name of shared) {
    const bytes = await readFile(join('/dev/shm', name)).catch(() => Buffer.alloc(0))
    assert.deepEqual(finderOf(run.secrets).find(bytes), [], `shared memory ${name}`)
  }
})

test('nothing of a file is found outside of what was sealed while it is shown, and after', async (t) => {
  if (!hasTool(t, 'soffice') || !hasTool(t, 'ffmpeg')) return
  const run = await start(t)
  const clients = await createClients(run)
  await useShownFiles(run, clients)
  await run.server.kill()
  await search(run, 'after a kill')
})

async function start(t: TestContext): Promise<Run> {
  const folder = await testFolder(t)
  const temporary = join(folder, 'tmp')
  await mkdir(temporary)
  const data = join(folder, 'data')
  const settings: Settings = {
    HOLDFAST_DATA: data,
    HOLDFAST_LOG_LEVEL: 'trace',
    HOLDFAST_API_RATE_LIMIT: '0',
    TMPDIR: temporary,
  }
  const server = await startServerProcess(t, settings)
  return { data, temporary, settings, server, searched: new Set(), secrets: [PIN] }
}

async function startAgain(t: TestContext, run: Run): Promise<void> {
  run.server = await startServerProcess(t, run.settings)
}

/** The headers of those who call, and where. */
interface Clients {
  readonly account: Record<string, string>
  readonly application: Record<string, string>
  readonly session: Record<string, string>
  readonly identityId: string
  readonly companyId: string
  readonly boxId: string
}

async function createClients(run: Run): Promise<Clients> {
  const { settings, secrets } = run
  const json = <T>(...words: string[]) => holdfastJson<T>(settings, ...words)
  await json('user', 'create', '--email', EMAIL, '--name', WORDS.person)
  const pin = await holdfastReading(
    settings,
    `${PIN}\n`,
    ...['user', 'set', '--email', EMAIL, '--pin-stdin'],
  )
  assert.equal(pin.code, 0)
  const { company_id: companyId } = await json<{ company_id: string }>(
    ...['company', 'create', '--name', WORDS.company, '--owner', EMAIL],
  )
  const app = await json<{ token: string }>(
    ...['app', 'create', '--company', companyId, '--name', WORDS.application],
  )
  const { token } = await json<{ token: string }>(
    ...['token', 'create', '--email', EMAIL, '--name', WORDS.tokenName],
  )
  const signedIn = await createSession(settings, EMAIL)
  const { headers: session, accessToken, csrfToken } = signedIn
  const refused = await holdfast(settings, 'user', 'create', '--email', EMAIL, '--name', 'again')
  assert.equal(refused.code, 1)
  secrets.push(token, app.token, accessToken, csrfToken)
  const box = await ask<{ id: string }>(run, 'POST', '/boxes', session, {
    title: WORDS.box,
    public_key: `${WORDS.fingerprint}0`,
    key_share: {
      misakey_share: WORDS.share,
      other_share_hash: SHARE_HASH,
      encrypted_invitation_key_share: WORDS.invitation,
    },
  })
  return {
    account: { authorization: `Bearer ${token}` },
    application: { authorization: `Bearer ${app.token}` },
    session,
    identityId: signedIn.id,
    companyId,
    boxId: box.id,
  }
}

/** Marks at the start, around each chunk's border, at odd places and at the end. */
function marked(size: number, word: string): Buffer<ArrayBuffer> {
  const bytes = Buffer.from(randomBytes(size))
  const mark = Buffer.concat([Buffer.from(word), ...BINARY, Buffer.from(word, 'utf16le')])
  for (let at = 0; at + mark.length <= size; at += 7777) mark.copy(bytes, at)
  for (let at = CHUNK; at + mark.length <= size; at += CHUNK) mark.copy(bytes, at - 20)
  mark.copy(bytes, Math.max(0, size - mark.length))
  return bytes
}

/** Boxes, saved files and company files, with everything that can be done to them; refusals. */
async function useEverything(run: Run, clients: Clients): Promise<void> {
  const { session, application, account, boxId, companyId } = clients
  const events = `/boxes/${boxId}/events`
  const content = { encrypted: WORDS.message, public_key: 'c29tZSBrZXk' }
  const text = await ask<{ id: string }>(run, 'POST', events, session, {
    type: 'msg.text',
    content,
  })
  await ask(run, 'POST', events, session, {
    type: 'msg.edit',
    referrer_id: text.id,
    content: { new_encrypted: WORDS.edited, new_public_key: 'c29tZSBrZXk' },
  })
  for (const size of [2000, LARGE]) {
    const form = uploadForm(marked(size, WORDS.content), WORDS.message)
    const sent = await ask<{ id: string; content: { encrypted_file_id: string } }>(
      ...([run, 'POST', `/boxes/${boxId}/encrypted-files`, session, form] as const),
    )
    await ask(run, 'GET', `/encrypted-files/${sent.content.encrypted_file_id}`, session)
    const saving = new FormData()
    saving.append('encrypted_file', new Blob([marked(size, WORDS.secondContent)]), WORDS.metadata)
    saving.append('encrypted_metadata', WORDS.metadata)
    saving.append('key_fingerprint', WORDS.fingerprint)
    await ask(run, 'POST', `/box-users/${clients.identityId}/saved-files`, session, saving)
    const deletion = { type: 'msg.delete', referrer_id: sent.id }
    await ask(run, 'POST', events, session, deletion)
  }
  await ask(run, 'GET', `/box-key-shares/${SHARE_HASH}`, session)
  await ask(run, 'GET', '/saved-files', session)

  const files = filesPath({ id: companyId })
  const query = `?filename=${WORDS.companyFile}.pdf&total_size=${LARGE}`
  const announced = await ask<{ resource: { id: string } }>(
    run,
    'POST',
    `${files}${query}`,
    account,
  )
  const file = `${files}/${announced.resource.id}`
  await sendChunks(run, file, account, WORDS.content)
  await ask(run, 'GET', `${file}/download`, account)
  await sendChunks(run, file, application, WORDS.overwritten)
  const whole = await ask<{ resource: { id: string } }>(
    ...([run, 'POST', files, account] as const),
    fileForm(marked(5000, WORDS.content), { filename: `${WORDS.companyFile}.docx` }),
  )
  const link = await ask<{ resource: { url: string } }>(
    ...([run, 'GET', `${file}/download/url`, account] as const),
  )
  run.secrets.push(new URL(link.resource.url, 'http://x').searchParams.get('signature') ?? PIN)
  await ask(run, 'GET', link.resource.url, {})
  await ask(run, 'DELETE', `${files}/${whole.resource.id}`, account)
  await refusals(run, clients)
}

async function sendChunks(
  run: Run,
  file: string,
  headers: Record<string, string>,
  word: string,
): Promise<void> {
  const bytes = marked(LARGE, word)
  const half = LARGE / 2
  for (const number of [2, 1, 2]) {
    const chunk = bytes.subarray((number - 1) * half, number * half)
    const query = `?total_chunks=2&chunk_number=${number}&total_size=${LARGE}&filename=${WORDS.overwritten}`
    await ask(run, 'POST', `${file}${query}`, headers, fileForm(chunk, { filename: word }))
  }
}

/** Upload, search, PIN, download of one and of many, trash. */
async function useAccountFiles(run: Run, { account }: Clients): Promise<void> {
  const ids: string[] = []
  for (const size of [0, 3000, LARGE]) {
    const form = fileForm(marked(size, WORDS.content), { filename: `${WORDS.accountFile}.pdf` })
    const { data } = await ask<{ data: { id: string } }>(run, 'POST', '/api/files', account, form)
    ids.push(data.id)
  }
  for (const keyword of [WORDS.accountFile, WORDS.search]) {
    await ask(run, 'GET', `/api/files?keyword=${keyword}&sort=filename_original`, account)
  }
  const pinKey = await ask<{ data: { key: string } }>(run, 'POST', '/api/keys', account, {
    pin: PIN,
  })
  run.secrets.push(pinKey.data.key)
  for (const files of [ids, ids.slice(2)]) {
    const made = await ask<{ data: { id: string } }>(run, 'POST', '/api/downloads', account, {
      files,
    })
    const keyed = await ask<{ data: { key: string } }>(
      ...([run, 'POST', `/api/downloads/${made.data.id}/keys`, account] as const),
      { pinKey: pinKey.data.key },
    )
    run.secrets.push(keyed.data.key)
    await ask(run, 'GET', `/download/${made.data.id}/${keyed.data.key}`, {})
  }
  await ask(run, 'DELETE', `/api/files/${ids[2]}`, account)
}

/** Files of every kind of which there are previews; all folders are searched while these are made. */
async function useShownFiles(run: Run, clients: Clients): Promise<void> {
  const { account, companyId } = clients
  const text = Buffer.from(WORDS.shown)
  const files: [string, Uint8Array][] = [
    ['a.svg', svg(`<text y="90">${WORDS.shown}</text>`)],
    ['a.jpg', Buffer.concat([await jpeg(400, 300), text])],
    ['a.pdf', Buffer.concat([pdf([1, 0, 0]), Buffer.from(`% ${WORDS.shown}\n`)])],
    ['a.fodt', flatText(WORDS.shown)],
    ['a.mp4', film('mp4', WORDS.shown)],
  ]
  for (const [filename, content] of files) {
    assert.ok(Buffer.from(content).includes(text), filename)
    let isShown = false
    const showing = (async () => {
      const path = `${filesPath({ id: companyId })}?filename=${filename}&thumbnail_sync=1`
      const { resource } = await ask<{ resource: Resource }>(
        ...([run, 'POST', path, account, fileForm(content, { filename })] as const),
      )
      assert.ok((resource.thumbnails?.length ?? 0) > 0, filename)
      for (const { url } of resource.thumbnails ?? []) await send(run, 'GET', `/${url}`, account)
    })().finally(() => {
      isShown = true
    })
    while (!isShown) {
      await search(run, `while ${filename} is shown`)
      await sleep(20)
    }
    await showing
  }
}

/** What is refused is not written down either. */
async function refusals(run: Run, { session, account, boxId }: Clients): Promise<void> {
  const wrong: [string, string, Record<string, string>, (object | string)?][] = [
    ['GET', `/download/${WORDS.wrongPath}/${WORDS.wrongPath}`, {}],
    ['GET', `/${WORDS.wrongPath}?token=${WORDS.wrongPath}`, {}],
    ['GET', '/api/files', { authorization: `Bearer ${WORDS.wrongPath}` }],
    ['POST', '/api/keys', account, { pin: WORDS.wrongBody }],
    [
      'POST',
      `/boxes/${boxId}/events`,
      session,
      { type: WORDS.wrongBody, content: WORDS.wrongBody },
    ],
    ['POST', '/boxes', session, { title: WORDS.wrongBody, public_key: { [WORDS.wrongBody]: 1 } }],
    ['POST', '/boxes', { ...session, 'content-type': 'application/json' }, `{"${WORDS.wrongBody}`],
    ['PATCH', `/v1/me?${WORDS.wrongPath}`, session, { display_name: { x: WORDS.wrongBody } }],
  ]
  for (const [method, path, headers, body] of wrong) {
    const { status } = await send(run, method, path, headers, body)
    assert.ok(status >= 400 && status < 500, `${method} ${path}: ${status}`)
  }
}

/** In every dialect an upload that will not end before the server does. */
function unfinishedUploads(run: Run, { session, account, boxId, companyId }: Clients) {
  const bytes = marked(LARGE, WORDS.content)
  const bodies: [string, Record<string, string>, FormData][] = [
    [`/boxes/${boxId}/encrypted-files`, session, uploadForm(bytes, WORDS.message)],
    ['/api/files', account, fileForm(bytes, { filename: WORDS.accountFile })],
    [filesPath({ id: companyId }), account, fileForm(bytes, { filename: WORDS.companyFile })],
  ]
  return [...bodies, ...bodies].map(([path, headers, body]) =>
    send(run, 'POST', path, headers, body),
  )
}

async function send(
  run: Run,
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: object | string,
): Promise<{ status: number; text: string }> {
  const isPlain = body !== undefined && typeof body !== 'string' && !(body instanceof FormData)
  const response = await fetch(`${run.server.address}${path}`, {
    method,
    headers: isPlain ? { ...headers, 'content-type': 'application/json' } : headers,
    body: isPlain ? JSON.stringify(body) : ((body as string | FormData | undefined) ?? null),
  })
  return { status: response.status, text: await response.text() }
}

async function ask<T>(
  run: Run,
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: object,
): Promise<T> {
  const { status, text } = await send(run, method, path, headers, body)
  assert.ok(status < 300, `${method} ${path}: ${status} ${text.slice(0, 300)}`)
  return /^[{[]/.test(text) ? JSON.parse(text) : (undefined as T)
}

/** Looks into all that lies in the folders and all that was printed, as far as it is new. */
async function search(run: Run, when: string): Promise<void> {
  const { data, temporary, server, searched } = run
  const finder = finderOf(run.secrets)
  const found: string[] = []
  for (const folder of [data, temporary]) {
    for (const name of await filesBelow(folder)) {
      // What is being written may be gone or move meanwhile.
      const info = await stat(join(folder, name)).catch(() => undefined)
      const version = `${name} ${info?.size} ${info?.mtimeMs}`
      if (searched.has(version)) continue
      const bytes = await readFile(join(folder, name)).catch(() => Buffer.alloc(0))
      found.push(...finder.find(bytes).map((mark) => `${mark} in ${name}`))
      searched.add(version)
    }
  }
  const log = Buffer.from(server.stdout() + server.stderr())
  assert.ok(log.includes('Holdfast listens'), 'the server said something')
  found.push(
    ...finderOf([...run.secrets, SHARE_HASH])
      .find(log)
      .map((mark) => `${mark} in the log`),
  )
  assert.deepEqual(found, [], when)
}

/** Arguments and environment, which everybody on the machine may read. */
async function searchProcess({ server, secrets }: Run): Promise<void> {
  for (const file of ['cmdline', 'environ']) {
    const bytes = await readFile(`/proc/${server.pid}/${file}`)
    assert.ok(bytes.length > 0)
    assert.deepEqual(finderOf(secrets).find(bytes), [], file)
  }
}

/** Finds the marks by name; secrets are not named. */
function finderOf(secrets: readonly string[]): Finder {
  const marks = new Map(Object.values(WORDS).map((word) => [word, writingsOf(word)]))
  for (const [index, secret] of secrets.entries()) marks.set(`secret ${index}`, writingsOf(secret))
  for (const [index, mark] of BINARY.entries()) {
    const written = [mark.toString('hex'), ...base64Of(mark)].map((text) => Buffer.from(text))
    marks.set(`bytes ${index}`, [mark, ...written])
  }
  return createFinder(marks)
}

function sharedMemory(): Promise<string[]> {
  return readdir('/dev/shm').catch(() => [])
}
