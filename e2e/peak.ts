import assert from 'node:assert/strict'
import { createCipheriv, createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { finished } from 'node:stream/promises'
import type { TestContext } from 'node:test'
import { type Event, type Place, PUBLIC_KEY, type Settings, startPlace } from './server-process.ts'

export const MIB = 1024 * 1024
const PIECE = 256 * 1024

/** MiB at most resident in a fresh server that a file of `size` bytes went into and out of. */
export async function peakAfter(
  t: TestContext,
  size: number,
  settings: Settings = {},
): Promise<number> {
  const place = await startPlace(t, {
    HOLDFAST_BOX_FILE_MAX_MB: String(size / MIB),
    HOLDFAST_LOG_LEVEL: 'warn',
    // The first start of all, which has no code from a cache, takes the most memory.
    NODE_COMPILE_CACHE: '',
    ...settings,
  })
  const begun = performance.now()
  const { fileId, digest } = await uploadGenerated(place, size)
  const uploaded = performance.now()
  assert.deepEqual(await downloadDigest(place, fileId), { size, digest })
  const read = performance.now()
  const status = await readFile(`/proc/${place.server.pid}/status`, 'utf8')
  await place.server.stop()
  t.diagnostic(
    `${size / MIB} MiB: up ${rate(size, uploaded - begun)}, down ${rate(size, read - uploaded)}`,
  )
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
}

async function uploadGenerated(
  place: Place,
  size: number,
): Promise<{ fileId: string; digest: string }> {
  const boundary = 'holdfast-boundary'
  const head = [
    field(boundary, 'msg_encrypted_content', 'Ym9uam91cg'),
    field(boundary, 'msg_public_key', PUBLIC_KEY),
    `--${boundary}\r\nContent-Disposition: form-data; name="encrypted_file"; filename="blob"\r\n\r\n`,
  ].join('')
  const tail = `\r\n--${boundary}--\r\n`
  const upload = request(`${place.server.address}/boxes/${place.boxId}/encrypted-files`, {
    method: 'POST',
    headers: {
      ...place.headers,
      'content-type': `multipart/form-data; boundary=${boundary}`,
      'content-length': head.length + size + tail.length,
    },
  })
  const answered = once(upload, 'response') as Promise<[IncomingMessage]>

  const hash = createHash('sha256')
  upload.write(head)
  for (const piece of pieces(size)) {
    hash.update(piece)
    if (!upload.write(piece)) await once(upload, 'drain')
  }
  upload.end(tail)

  const [response] = await answered
  const body = Buffer.concat(await response.toArray()).toString()
  assert.equal(response.statusCode, 201, body)
  const event: Event = JSON.parse(body)
  return { fileId: String(event.content?.encrypted_file_id), digest: hash.digest('hex') }
}

function field(boundary: string, name: string, value: string): string {
  return `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
}

/** Bytes that nothing can guess or compress, made as they are needed. */
function* pieces(size: number): Generator<Uint8Array> {
  const stream = createCipheriv('aes-256-ctr', Buffer.alloc(32, 1), Buffer.alloc(16))
  const zeros = Buffer.alloc(PIECE)
  for (let left = size; left > 0; left -= PIECE) {
    yield stream.update(zeros.subarray(0, Math.min(left, PIECE)))
  }
}

async function downloadDigest(
  place: Place,
  fileId: string,
): Promise<{ size: number; digest: string }> {
  const get = request(`${place.server.address}/encrypted-files/${fileId}`, {
    headers: place.headers,
  })
  get.end()
  const [response] = (await once(get, 'response')) as [IncomingMessage]
  assert.equal(response.statusCode, 200)
  const hash = createHash('sha256')
  let size = 0
  response.on('data', (piece: Buffer) => {
    size += piece.length
    hash.update(piece)
  })
  await finished(response)
  return { size, digest: hash.digest('hex') }
}

function rate(bytes: number, milliseconds: number): string {
  return `${(bytes / MIB / (milliseconds / 1000)).toFixed(0)} MiB/s`
}
