import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { ZipFile } from 'yazl'
import { fileForm, type Resource } from '../packages/server/test/helpers/companies.ts'
import { address, type CompanyPlace } from './company-place.ts'

const POLL_MS = 50

/** Uploads a file and answers what became of its previews. */
export async function shown(
  place: CompanyPlace,
  filename: string,
  content: Uint8Array,
): Promise<Resource> {
  const query = new URLSearchParams({ filename, thumbnail_sync: '1' })
  const answer = await fetch(address(place, undefined, `?${query}`), {
    method: 'POST',
    headers: place.headers,
    body: fileForm(content),
  })
  assert.equal(answer.status, 200, filename)
  let { resource } = (await answer.json()) as { resource: Resource }
  while (resource.metadata?.thumbnails_status === 'waiting') {
    await delay(POLL_MS)
    const again = await fetch(address(place, resource.id), { headers: place.headers })
    resource = ((await again.json()) as { resource: Resource }).resource
  }
  return resource
}

/** MiB at most resident in the server. */
export async function peakOf({ server }: CompanyPlace): Promise<number> {
  const status = await readFile(`/proc/${server.pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
}

/** A text document, as LibreOffice saves it without an archive. */
export function flatText(text = 'Hello'): Buffer {
  const spaces = ['office', 'text'].map(
    (name) => `xmlns:${name}="urn:oasis:names:tc:opendocument:xmlns:${name}:1.0"`,
  )
  return Buffer.from(
    `<?xml version="1.0" encoding="UTF-8"?>
<office:document ${spaces.join(' ')} office:version="1.2"
  office:mimetype="application/vnd.oasis.opendocument.text"><office:body><office:text>
${`<text:p>${text}</text:p>\n`.repeat(1000)}</office:text></office:body></office:document>`,
  )
}

/** Two seconds of a moving picture, 1280 × 720. @param title that stands in it as plain text */
export function film(format: 'mp4' | 'matroska' | 'avi', title = 'A film'): Buffer {
  const { stdout, status } = spawnSync(
    'ffmpeg',
    [
      ...['-loglevel', 'error', '-f', 'lavfi', '-i', 'testsrc=duration=2:size=1280x720:rate=5'],
      ...[
        '-metadata',
        `title=${title}`,
        '-pix_fmt',
        'yuv420p',
        '-movflags',
        'frag_keyframe+empty_moov',
        '-f',
        format,
        '-',
      ],
    ],
    { maxBuffer: 1e8 },
  )
  assert.equal(status, 0)
  return stdout
}

export async function archive(entries: Record<string, Buffer>): Promise<Buffer> {
  const zip = new ZipFile()
  for (const [name, content] of Object.entries(entries)) zip.addBuffer(content, name)
  zip.end()
  const pieces: Buffer[] = []
  for await (const piece of zip.outputStream) pieces.push(Buffer.from(piece))
  return Buffer.concat(pieces)
}
