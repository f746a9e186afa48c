/**
 * Proves that no file that is shown can end the server: files of every kind, changed at random, go
 * through it for 15 seconds, or for `FUZZ_SECONDS` (`npm run fuzz:previews`: two minutes). `FUZZ_SEED`
 * repeats the changes of a run.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import sharp from 'sharp'
import { jpeg, pdf, svg } from '../packages/server/test/helpers/pictures.ts'
import { startCompanyPlace } from './company-place.ts'
import { archive, film, flatText, peakOf, shown } from './preview-files.ts'
import { hasTool } from './tools.ts'

const SECONDS = Number(process.env.FUZZ_SECONDS ?? 15)
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000)
const AT_ONCE = 3
const MOST_MIB = 250
/** Values that lengths and sizes are made of when they lie. */
const SPECIAL = [0, 1, 0x7f, 0x80, 0xff]

test('files changed at random are shown or not, and the server goes on', async (t) => {
  const random = generator(SEED)
  const corpus = await makeCorpus(hasTool(t, 'ffmpeg') && hasTool(t, 'soffice'))
  const place = await startCompanyPlace(t)
  const counts: Record<string, number> = {}
  const end = performance.now() + SECONDS * 1000

  async function worker(): Promise<void> {
    while (performance.now() < end) {
      const [name, content] = corpus[random(corpus.length)] ?? assert.fail()
      const { metadata } = await shown(place, name, changed(content, random))
      const result = `${name} ${metadata?.thumbnails_status}`
      counts[result] = (counts[result] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))

  t.diagnostic(`seed ${SEED}: ${JSON.stringify(counts)}`)
  const { metadata } = await shown(place, 'good.jpg', await jpeg(30, 20))
  assert.equal(metadata?.thumbnails_status, 'done', 'it is well afterwards')
  const peak = await peakOf(place)
  t.diagnostic(`VmHWM of the server: ${peak.toFixed(1)} MiB`)
  assert.ok(peak <= MOST_MIB, `${peak} MiB`)
  assert.equal((await place.server.stop()).code, 0)
})

async function makeCorpus(withTools: boolean): Promise<[name: string, content: Buffer][]> {
  const picture = sharp(await jpeg(90, 60))
  const own: [string, Buffer][] = [
    ['a.jpg', await picture.jpeg().toBuffer()],
    ['a.png', await picture.png().toBuffer()],
    ['a.gif', await picture.gif().toBuffer()],
    ['a.webp', await picture.webp().toBuffer()],
    ['a.tiff', await picture.tiff().toBuffer()],
    ['a.avif', await picture.avif({ effort: 0 }).toBuffer()],
    ['a.svg', svg('<text y="20">Hi</text><use href="#a"/>')],
    ['a.pdf', pdf([1, 0, 0], [0, 1, 0])],
  ]
  if (!withTools) return own
  const types = { '[Content_Types].xml': Buffer.from('<Types/>') }
  return [
    ...own,
    ['a.mp4', film('mp4')],
    ['a.mkv', film('matroska')],
    ['a.fodt', flatText()],
    ['a.docx', await archive({ ...types, 'word/document.xml': Buffer.from('<document/>') })],
  ]
}

/** A copy with some bytes changed, some taken away and some twice. */
function changed(content: Buffer, random: (below: number) => number): Buffer {
  let copy = Buffer.from(content)
  for (let time = random(8); time >= 0; time -= 1) {
    const at = random(copy.length || 1)
    const length = random(64)
    const kind = random(5)
    if (kind < 3 && copy.length > 0) {
      copy[at] = kind === 0 ? random(256) : (SPECIAL[random(SPECIAL.length)] ?? 0)
    } else if (kind === 3) {
      copy = Buffer.concat([copy.subarray(0, at), copy.subarray(at + length)])
    } else {
      copy = Buffer.concat([copy.subarray(0, at + length), copy.subarray(at)])
    }
  }
  return copy.length > 0 ? copy : Buffer.from('x')
}

/** Numbers that look random and are the same for the same seed (mulberry32). */
function generator(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}
