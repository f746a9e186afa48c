import assert from 'node:assert/strict'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually } from '../../e2e/processes.ts'
import { call, head } from '../../packages/server/test/helpers/http.ts'
import { createFaultyFiles } from '../faulty-files.ts'
import { assertContent, KINDS, type Kind, LARGE, newTag, pattern } from '../operations.ts'
import { type Place, startPlaceApart, startPlaceHere } from '../place.ts'
import type { Row, RowScope } from '../row.ts'
import { assertSound } from '../sound.ts'

const IDLE_CONNECTIONS = 2000
/** What so many may cost the server, in bytes of resident memory. */
const IDLE_COST = 100 * 1024 * 1024
/** Two minutes without a byte, which are noticed at the second look; all other limits are shorter. */
const LONGEST_MS = 300_000

/** Clients that leave, that come in numbers, and that only hold a connection. */
export const clients: readonly Row[] = [
  ...KINDS.map((kind) => ({
    step: `upload: ${kind.name}, large`,
    fault: 'the client leaves at every kind of byte',
    run: (t: RowScope) => leaveEverywhere(t, kind),
  })),
  {
    step: 'connections',
    fault: `${IDLE_CONNECTIONS} that stay idle`,
    waits: true,
    run: idleConnections,
  },
  {
    step: 'connections',
    fault: 'heads that come byte by byte (slowloris)',
    waits: true,
    run: (t) =>
      slowly(t, 0, (place) => Buffer.from(head('GET', '/health/ready', place.ann.headers))),
  },
  {
    step: 'connections',
    fault: 'bodies that come byte by byte',
    waits: true,
    run: (t) => slowly(t, 4000, (place) => wire(place, KINDS[0] as Kind, LARGE, newTag())),
  },
  {
    step: 'download: box file',
    fault: 'a client that never reads',
    waits: true,
    run: neverRead,
  },
  {
    step: 'upload: box file, large',
    fault: 'a client that is slow and goes on',
    waits: true,
    run: slowUpload,
  },
]

/** An upload as it stands on the wire. */
async function wireOf(
  place: Place,
  kind: Kind,
  size: number,
  tag: string,
): Promise<{ head: Buffer; body: Buffer }> {
  const { path, headers, body: form } = kind.upload(place, pattern(size, 20), tag)
  const encoded = new Response(form)
  const type = String(encoded.headers.get('content-type'))
  const body = Buffer.from(await encoded.arrayBuffer())
  const fields = { ...headers, 'content-type': type, 'content-length': body.byteLength }
  return { head: Buffer.from(head('POST', path, fields)), body }
}

async function wire(place: Place, kind: Kind, size: number, tag: string): Promise<Buffer> {
  const { head, body } = await wireOf(place, kind, size, tag)
  return Buffer.concat([head, body])
}

/** Where a client leaves, in bytes of its request. */
function places({ head, body }: { head: Buffer; body: Buffer }): Record<string, number> {
  const content = head.byteLength + body.indexOf('\r\n\r\n') + 4
  const end = head.byteLength + body.byteLength
  return {
    'before the first byte': 0,
    'in the request line': 6,
    'in a header': Math.floor(head.byteLength / 2),
    'before the empty line': head.byteLength - 2,
    'before the body': head.byteLength,
    'in the first boundary': head.byteLength + 5,
    'in the header of the part': content - 10,
    'before the content': content,
    'at its first byte': content + 1,
    'where it is small': content + 50_000,
    'in its middle': content + Math.floor(LARGE / 2),
    'at its end': content + LARGE,
    'in the last boundary': end - 5,
    'at the last byte': end - 1,
    'before the answer': end,
  }
}

async function leaveEverywhere(t: RowScope, kind: Kind): Promise<number> {
  const faulty = createFaultyFiles()
  const place = await startPlaceHere(t, faulty.files)
  let times = 0
  for (const where of Object.keys(places({ head: Buffer.alloc(100), body: Buffer.alloc(100) }))) {
    for (const leave of ['destroy', 'resetAndDestroy'] as const) {
      const tag = newTag()
      const request = await wireOf(place, kind, LARGE, tag)
      const bytes = Buffer.concat([request.head, request.body])
      const socket = await open(place)
      await send(socket, bytes.subarray(0, places(request)[where]))
      // Some of it is on its way, all of it, or nothing.
      await sleep(times % 3 === 0 ? 0 : 30)
      socket[leave]()
      times += 1

      await eventually('every descriptor is closed', 10_000, () => faulty.open() === 0 || undefined)
      const { body } = await call(place.server, 'GET', '/health/ready')
      assert.ok(body, 'others are served')
      for (const file of await kind.find(place, tag, [])) {
        assert.ok(
          /last byte|answer|boundary/.test(where),
          `there is a file of a client that left ${where}`,
        )
        await assertContent(file, pattern(LARGE, 20))
      }
    }
  }
  // What was sent whole counts whether or not its client waited.
  await eventually('all has ended', 10_000, () => faulty.open() === 0 || undefined)
  await sleep(200)
  await place.server.core.sweep(Date.now() + 60_000)
  await assertSound(place.data)
  return times
}

async function idleConnections(t: RowScope): Promise<number> {
  const place = await startPlaceApart(t)
  await place.server.logged('swept')
  const before = await residentBytes(place.server.pid)
  const sockets: Socket[] = []
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  let closed = 0
  for (let count = 0; count < IDLE_CONNECTIONS; count += 1) {
    const socket = await open(place)
    socket.once('close', () => {
      closed += 1
    })
    socket.resume()
    sockets.push(socket)
    // Half of them have asked something before.
    if (count % 2 === 0) await send(socket, head('GET', '/health/live'))
  }
  const [file] = await uploaded(place)
  assert.ok(file, 'others are served')
  const cost = (await residentBytes(place.server.pid)) - before
  assert.ok(cost < IDLE_COST, `${cost} bytes for ${IDLE_CONNECTIONS} connections`)
  await eventually(
    'all of them are closed',
    LONGEST_MS,
    () => closed === sockets.length || undefined,
  )
  return IDLE_CONNECTIONS
}

/**
 * Many clients that send a request byte by byte until the server has had enough of all.
 *
 * @param begin bytes that they send at once before
 */
async function slowly(
  t: RowScope,
  begin: number,
  request: (place: Place) => Buffer | Promise<Buffer>,
): Promise<number> {
  const count = 20
  const place = await startPlaceApart(t)
  const sockets = await Promise.all(Array.from({ length: count }, () => open(place)))
  let closed = 0
  const bytes = await request(place)
  for (const socket of sockets) {
    socket.resume()
    socket.once('close', () => {
      closed += 1
    })
    await send(socket, bytes.subarray(0, begin))
  }
  const deadline = Date.now() + LONGEST_MS
  for (let at = begin; closed < count; at += 1) {
    assert.ok(Date.now() < deadline, `${count - closed} are served after ${at} bytes`)
    for (const socket of sockets) if (!socket.destroyed) socket.write(bytes.subarray(at, at + 1))
    await sleep(500)
  }
  assert.ok((await uploaded(place)).length > 0, 'others are served')
  return count
}

async function neverRead(t: RowScope): Promise<number> {
  const count = 5
  const place = await startPlaceApart(t)
  const found = await uploaded(place, 8 * 1024 * 1024)
  const path = String(found[0]?.path)
  const sockets = await Promise.all(Array.from({ length: count }, () => open(place)))
  for (const socket of sockets) {
    socket.pause()
    await send(socket, head('GET', path, place.ann.headers))
  }
  await eventually(
    'they have begun',
    10_000,
    async () => (await blobsOpen(place)) === count || undefined,
  )
  await eventually(
    'every descriptor is closed',
    LONGEST_MS,
    async () => (await blobsOpen(place)) === 0 || undefined,
  )
  for (const socket of sockets) socket.destroy()
  return count
}

/** At the pace of a poor line, for longer than any limit. */
async function slowUpload(t: RowScope): Promise<number> {
  const place = await startPlaceApart(t)
  const tag = newTag()
  const kind = KINDS[0] as Kind
  const bytes = await wire(place, kind, LARGE, tag)
  const socket = await open(place)
  let answer = ''
  socket.setEncoding('utf8').on('data', (text: string) => {
    answer += text
  })
  const pieces = 150
  const size = Math.ceil(bytes.byteLength / pieces)
  // A few hundred bytes a second at first, the rest in one go.
  const slow = 70_000
  for (let at = 0; at < slow; at += 500) {
    await send(socket, bytes.subarray(at, at + 500))
    await sleep(1000)
  }
  for (let at = slow; at < bytes.byteLength; at += size)
    await send(socket, bytes.subarray(at, at + size))
  await eventually('it is answered', 10_000, () => answer !== '' || undefined)
  assert.match(answer, /^HTTP\/1.1 201 /)
  for (const file of await kind.find(place, tag, [])) await assertContent(file, pattern(LARGE, 20))
  socket.destroy()
  return 1
}

function open({ server }: Pick<Place, 'server'>): Promise<Socket> {
  const { hostname, port } = new URL(server.address)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      socket.off('error', reject).on('error', () => undefined)
      resolve(socket)
    })
    socket.setNoDelay(true).once('error', reject)
  })
}

/** Settles also when the server has closed. */
function send(socket: Socket, bytes: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    socket.write(bytes, () => resolve())
  })
}

/** A box file like any other's; answers where it is. */
async function uploaded(place: Place, size = LARGE): Promise<{ path: string }[]> {
  const tag = newTag()
  const { path, ...request } = (KINDS[0] as Kind).upload(place, pattern(size, 21), tag)
  const { body } = await call(place.server, 'POST', path, request)
  const { content } = body as { content: { encrypted_file_id: string } }
  return [{ path: `/encrypted-files/${content.encrypted_file_id}` }]
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
}

/** Descriptors of the server process on stored objects. */
async function blobsOpen(place: Place & { server: { pid: number } }): Promise<number> {
  const folder = `/proc/${place.server.pid}/fd`
  const names = await readdir(folder)
  const targets = await Promise.all(
    names.map((name) => readlink(`${folder}/${name}`).catch(() => '')),
  )
  return targets.filter((target) => target.startsWith(`${place.data}/blobs/`)).length
}
