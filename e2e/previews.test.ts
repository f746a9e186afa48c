/**
 * Proves that office documents and videos are shown where LibreOffice and ffmpeg are, and that files
 * made to hurt end as an error: soon, and without the server having taken part in them.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32, deflateSync } from 'node:zlib'
import { pdf, svg } from '../packages/server/test/helpers/pictures.ts'
import { startCompanyPlace } from './company-place.ts'
import { archive, film, flatText, peakOf, shown } from './preview-files.ts'
import { hasTool } from './tools.ts'

const MOST_MIB = 250
const MOST_SECONDS = 90

test('documents of every family are shown', async (t) => {
  if (!hasTool(t, 'soffice')) return
  const place = await startCompanyPlace(t)
  const files: Record<string, [content: Buffer, pages: number]> = {
    'a.fodt': [flatText(), 10],
    'a.csv': [Buffer.from('a,b\n1,2\n'), 1],
    'a.txt': [Buffer.from('Grüße\n'), 1],
    'a.rtf': [Buffer.from('{\\rtf1\\ansi Hello}'), 1],
    'a.html': [Buffer.from('<h1>Hello</h1><img src="file:///etc/passwd">'), 1],
  }
  for (const [name, [content, pages]] of Object.entries(files)) {
    const { metadata, thumbnails } = await shown(place, name, content)
    assert.equal(metadata?.thumbnails_status, 'done', name)
    assert.ok(
      thumbnails.length >= pages && thumbnails.length <= 10,
      `${name}: ${thumbnails.length}`,
    )
  }
})

test('films of several containers are shown', async (t) => {
  if (!hasTool(t, 'ffmpeg')) return
  const place = await startCompanyPlace(t)
  const films = { 'a.mp4': 'mp4', 'a.mkv': 'matroska', 'a.avi': 'avi' } as const
  for (const [name, format] of Object.entries(films)) {
    const { thumbnails } = await shown(place, name, film(format))
    assert.deepEqual(
      thumbnails.map(({ type, width, height }) => [type, width, height]),
      [['image/webp', 600, 338]],
      name,
    )
  }
})

test('files made to hurt are errors, and the server is well', async (t) => {
  const place = await startCompanyPlace(t)
  const zeros = Buffer.alloc(300 * 1024 * 1024)
  const types = { '[Content_Types].xml': Buffer.from('<Types/>') }
  const files: [what: string, name: string, content: Buffer][] = [
    ['a flood of pixels', 'a.png', png(60_000, 60_000)],
    ['a long flood', 'a.png', png(2_000_000, 51)],
    ['more frames than anybody looks at', 'a.gif', gif(10_000)],
    ['a GIF without an end', 'a.gif', gif(10).subarray(0, -20)],
    ['an SVG that refers to itself', 'a.svg', svg(nestedUses())],
    ['entities in entities', 'a.svg', laughs()],
    [
      'an SVG as large as a continent',
      'a.svg',
      Buffer.from(svg().toString().replace('300', '3e9')),
    ],
    ['a PDF cut in half', 'a.pdf', pdf([1, 0, 0], [0, 1, 0]).subarray(0, 200)],
    ['a playlist', 'a.mp4', Buffer.from('#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n')],
    ['a list of files', 'a.avi', Buffer.from("ffconcat version 1.0\nfile '/etc/passwd'\n")],
    ['a document that explodes', 'a.docx', await archive({ ...types, 'word/document.xml': zeros })],
    ['a document that is none', 'a.docx', Buffer.from('PK\x03\x04 and nothing else')],
    ['a program', 'a.doc', Buffer.from('MZ\0\0')],
  ]
  for (const [what, name, content] of files) {
    const began = performance.now()
    const { metadata, thumbnails } = await shown(place, name, content)
    const seconds = (performance.now() - began) / 1000
    t.diagnostic(`${what}: ${seconds.toFixed(1)} s`)
    const isOff = /mp4|avi/.test(name)
      ? !hasTool(t, 'ffmpeg')
      : /doc/.test(name) && !hasTool(t, 'soffice')
    if (isOff) continue
    assert.deepEqual([metadata?.thumbnails_status, thumbnails], ['error', []], what)
    assert.ok(seconds < MOST_SECONDS, `${what}: ${seconds} s`)
  }
  const { metadata } = await shown(place, 'good.pdf', pdf([1, 0, 0]))
  assert.equal(metadata?.thumbnails_status, 'done')
  const peak = await peakOf(place)
  t.diagnostic(`VmHWM of the server: ${peak.toFixed(1)} MiB`)
  assert.ok(peak <= MOST_MIB, `${peak} MiB`)
})

/** A PNG that says it is this large, with nothing behind. */
function png(width: number, height: number): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type), data])
    const [size, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
    size.writeUInt32BE(data.length)
    sum.writeUInt32BE(crc32(body))
    return Buffer.concat([size, body, sum])
  }
  const head = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0])
  head.writeUInt32BE(width)
  head.writeUInt32BE(height, 4)
  const zeros = deflateSync(Buffer.alloc(10_000_000))
  const signature = Buffer.from('89504e470d0a1a0a', 'hex')
  return Buffer.concat([
    ...[signature, chunk('IHDR', head), chunk('IDAT', zeros), chunk('IEND', Buffer.alloc(0))],
  ])
}

/** A GIF of so many frames of one pixel. */
function gif(frames: number): Buffer {
  const head = Buffer.from('47494638396101000100800000000000ffffff', 'hex')
  const frame = Buffer.from('21f90400010000002c0000000001000100000202440100', 'hex')
  return Buffer.concat([head, ...Array<Buffer>(frames).fill(frame), Buffer.from('3b', 'hex')])
}

/** Twenty levels of ten copies each. */
function nestedUses(): string {
  const levels = Array.from(
    { length: 20 },
    (_, level) => `<g id="l${level + 1}">${`<use href="#l${level}"/>`.repeat(10)}</g>`,
  )
  return `<defs><rect id="l0" width="9" height="9"/>${levels.join('')}</defs><use href="#l20"/>`
}

function laughs(): Buffer {
  const entities = Array.from(
    { length: 9 },
    (_, level) => `<!ENTITY l${level + 1} "${`&l${level};`.repeat(10)}">`,
  )
  return Buffer.from(
    `<!DOCTYPE svg [<!ENTITY l0 "ha">${entities.join('')}]>${svg('<text>&l9;</text>')}`,
  )
}
