import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { testFolder } from '../../packages/server/test/helpers/cleanup.ts'
import { databaseSettings } from '../../packages/server/test/helpers/postgres.ts'
import { PUBLIC_KEY } from '../../packages/server/test/helpers/server.ts'
import {
  createSession,
  eventually,
  holdfast,
  holdfastJson,
  refusedStart,
  type ServerProcess,
  startServerProcess,
} from '../processes.ts'

const STOP_MS = 10_000

describe('the server process', { concurrency: 3 }, () => {
  // The one that waits comes first, beside all others.
  test('an upload that never ends does not keep it from stopping in time', async (t) => {
    const { server, headers, boxId, data } = await startWithBox(t)
    const upload = beginUpload(server, headers, boxId, 1_000_000)
    const cut = once(upload, 'error')
    upload.write(Buffer.alloc(200_000, 7))
    await underWay(data)
    const begun = Date.now()
    const { code } = await server.stop()
    assert.equal(code, 0)
    assert.ok(Date.now() - begun < STOP_MS, `${Date.now() - begun} ms`)
    await cut
    await startServerProcess(t, server.settings)
    assert.deepEqual(await readdir(join(data, 'tmp')), [], 'nothing half-made stays')
  })

  test('the first start says where the key is and how to make a person; later ones do not', async (t) => {
    const data = join(await testFolder(t), 'data')
    const settings = { HOLDFAST_DATA: data, ...(await databaseSettings(t)) }
    const first = await startServerProcess(t, settings)
    assert.deepEqual(first.stdout().split('\n'), [
      `Made the root key ${data}.key.`,
      'Nothing can be read without it: keep a copy in another place than the data.',
      "Nobody is known yet: npx holdfast user create --email you@example.com --name 'Your Name'",
      `Holdfast listens on ${first.address}`,
      '',
    ])
    assert.equal((await stat(`${data}.key`)).mode & 0o777, 0o600)
    assert.equal((await stat(data)).mode & 0o777, 0o700)
    assert.ok(!(await readdir(data)).some((name) => name.endsWith('.key')))
    const key = await readFile(`${data}.key`, 'utf8')
    assert.match(key, /^AGE-SECRET-KEY-1/m)

    // The hint works as it stands.
    const hint = /npx holdfast (.*)$/m.exec(first.stdout())?.[1] ?? ''
    const words = [...hint.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare)
    assert.equal((await holdfast(settings, ...(words as string[]))).code, 0)

    const { code, stderr } = await first.stop()
    assert.equal(code, 0)
    assert.ok(!stderr.includes('AGE-SECRET-KEY'))
    const second = await startServerProcess(t, settings)
    assert.equal(second.stdout(), `Holdfast listens on ${second.address}\n`)
    assert.equal(await readFile(`${data}.key`, 'utf8'), key)
  })

  test('SIGTERM and SIGINT stop it cleanly', async (t) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const data = join(await testFolder(t), 'data')
      const server = await startServerProcess(t, {
        HOLDFAST_DATA: data,
        ...(await databaseSettings(t)),
      })
      // An idle connection is no reason to wait.
      await (await fetch(`${server.address}/health/live`)).text()
      const begun = Date.now()
      server.child.kill(signal)
      const { code } = await server.ended
      assert.equal(code, 0, signal)
      assert.ok(Date.now() - begun < 3000)
      const left = await readdir(data)
      assert.ok(!left.includes('holdfast.db-wal'), 'the log went into the database')
    }
  })

  test('an upload that is under way when SIGTERM comes is answered, and lasts', async (t) => {
    const { server, headers, boxId, data } = await startWithBox(t)
    const bytes = Buffer.alloc(300_000, 7)
    const upload = beginUpload(server, headers, boxId, bytes.length)
    upload.write(bytes.subarray(0, 200_000))
    await underWay(data)
    const begun = Date.now()
    const stopped = server.stop()
    setTimeout(() => upload.end(Buffer.concat([bytes.subarray(200_000), TAIL])), 500)
    const [response] = (await once(upload, 'response')) as [IncomingMessage]
    assert.equal(response.statusCode, 201)
    const chunks = (await response.toArray()) as Buffer[]
    const event = JSON.parse(Buffer.concat(chunks).toString())
    assert.equal((await stopped).code, 0)
    assert.ok(Date.now() - begun < 5000, 'it waits no longer than for the upload')

    const again = await startServerProcess(t, server.settings)
    const url = `${again.address}/encrypted-files/${event.content.encrypted_file_id}`
    const read = await fetch(url, { headers })
    assert.deepEqual(Buffer.from(await read.arrayBuffer()), bytes)
  })

  test('a second server on the folder is refused, and the first goes on', async (t) => {
    const data = join(await testFolder(t), 'data')
    const settings = { HOLDFAST_DATA: data, ...(await databaseSettings(t)) }
    const first = await startServerProcess(t, settings)
    const { code, stdout, stderr } = await refusedStart(settings)
    assert.equal(stderr, `holdfast: another Holdfast server holds ${data}\n`)
    assert.deepEqual({ code, stdout }, { code: 2, stdout: '' })
    await holdfastJson(settings, 'user', 'create', '--email', 'ann@example.com', '--name', 'Ann')
    assert.equal((await fetch(`${first.address}/health/ready`)).status, 200)

    // The lock dies with its process, however that ends.
    await first.kill()
    await startServerProcess(t, settings)
  })

  test('a port that is taken is refused in one line', async (t) => {
    const folder = await testFolder(t)
    const first = await startServerProcess(t, {
      HOLDFAST_DATA: join(folder, 'first'),
      ...(await databaseSettings(t)),
    })
    const { code, stderr } = await refusedStart({
      HOLDFAST_DATA: join(folder, 'second'),
      ...(await databaseSettings(t)),
      HOLDFAST_PORT: new URL(first.address).port,
    })
    assert.match(lastLine(stderr), /^holdfast: .*address already in use/)
    assert.equal(code, 2)
  })

  test('a data folder that cannot be made is refused in one line', async (t) => {
    const folder = await testFolder(t)
    await writeFile(join(folder, 'letter'), 'no folder')
    const { code, stderr } = await refusedStart({ HOLDFAST_DATA: join(folder, 'letter', 'data') })
    assert.match(lastLine(stderr), /^holdfast: .*letter/)
    assert.equal(code, 2)
  })
})

const BOUNDARY = 'holdfast-boundary'
const HEAD = Buffer.from(
  [
    `--${BOUNDARY}\r\nContent-Disposition: form-data; name="msg_encrypted_content"\r\n\r\nYm9u\r\n`,
    `--${BOUNDARY}\r\nContent-Disposition: form-data; name="msg_public_key"\r\n\r\n${PUBLIC_KEY}\r\n`,
    `--${BOUNDARY}\r\nContent-Disposition: form-data; name="encrypted_file"; filename="blob"\r\n`,
    'Content-Type: application/octet-stream\r\n\r\n',
  ].join(''),
)
const TAIL = Buffer.from(`\r\n--${BOUNDARY}--\r\n`)

async function startWithBox(t: Parameters<typeof testFolder>[0]): Promise<{
  server: ServerProcess
  headers: Record<string, string>
  boxId: string
  data: string
}> {
  const data = join(await testFolder(t), 'data')
  const settings = { HOLDFAST_DATA: data, ...(await databaseSettings(t)) }
  const server = await startServerProcess(t, settings)
  const email = 'ann@example.com'
  await holdfastJson(settings, 'user', 'create', '--email', email, '--name', 'Ann')
  const { headers } = await createSession(settings, email)
  const response = await fetch(`${server.address}/boxes`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ title: 'A box', public_key: PUBLIC_KEY }),
  })
  const { id } = (await response.json()) as { id: string }
  return { server, headers, boxId: id, data }
}

/** An upload of so many bytes whose head has gone out; whoever calls writes the bytes and the tail. */
function beginUpload(
  server: ServerProcess,
  headers: Record<string, string>,
  boxId: string,
  size: number,
): ClientRequest {
  const upload = request(`${server.address}/boxes/${boxId}/encrypted-files`, {
    method: 'POST',
    headers: {
      ...headers,
      'content-type': `multipart/form-data; boundary=${BOUNDARY}`,
      'content-length': HEAD.length + size + TAIL.length,
    },
  })
  upload.write(HEAD)
  return upload
}

/** Settles when the server has begun to store. */
async function underWay(data: string): Promise<void> {
  const folder = join(data, 'tmp')
  await eventually(`something in ${dirname(folder)}/tmp`, 5000, async () => {
    const entries = await readdir(folder)
    return entries.length > 0 ? true : undefined
  })
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? ''
}
