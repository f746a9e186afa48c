import sharp, { type SharpOptions } from 'sharp'
import { PREVIEW_HEIGHT, PREVIEW_WIDTH } from '../protocol.ts'
import { MOST_PIXELS, type RenderedPage, toPage } from './page.ts'
import { RenderRefusal } from './refusal.ts'
import { hasSignature, type Signature } from './signature.ts'
import { isSvg, refuseActiveSvg } from './svg.ts'

/** Pictures in one file of which only the first is shown. */
const MOST_FRAMES = 5000
const SVG_DENSITY = 72
const GIF_END = 0x3b

const SIGNATURES: readonly [format: string, ...signatures: Signature[]][] = [
  ['jpeg', [[0, '\xff\xd8\xff']]],
  ['png', [[0, '\x89PNG\r\n\x1a\n']]],
  ['gif', [[0, 'GIF87a']], [[0, 'GIF89a']]],
  [
    'webp',
    [
      [0, 'RIFF'],
      [8, 'WEBPVP8'],
    ],
  ],
  ['tiff', [[0, 'II*\0']], [[0, 'II+\0']], [[0, 'MM\0*']], [[0, 'MM\0+']]],
  ['heif', [[4, 'ftypavif']], [[4, 'ftypavis']]],
]

/** @throws RenderRefusal */
export async function renderImage(bytes: Buffer): Promise<RenderedPage[]> {
  const known = SIGNATURES.find(([, ...signatures]) => hasSignature(bytes, ...signatures))
  if (known) return [await renderPixels(bytes, known[0])]
  if (!isSvg(bytes)) throw new RenderRefusal('unknown_format')
  refuseActiveSvg(bytes)
  return [await renderSvg(bytes)]
}

async function renderPixels(bytes: Buffer, format: string): Promise<RenderedPage> {
  if (format === 'gif' && !hasGifEnd(bytes)) throw new RenderRefusal('damaged')
  const options: SharpOptions = { limitInputPixels: MOST_PIXELS, failOn: 'warning' }
  const found = await sharp(bytes, options).metadata()
  if (found.format !== format) throw new RenderRefusal('damaged')
  if ((found.pages ?? 1) > MOST_FRAMES) throw new RenderRefusal('too_many_frames')
  refuseFlood(found)
  // Colours stay what they are without the profile; where the picture was turned stays so.
  return toPage(sharp(bytes, options).autoOrient().toColourspace('srgb'))
}

async function renderSvg(bytes: Buffer): Promise<RenderedPage> {
  const options: SharpOptions = { limitInputPixels: false, failOn: 'warning' }
  const found = await sharp(bytes, { ...options, density: SVG_DENSITY }).metadata()
  if (found.format !== 'svg') throw new RenderRefusal('damaged')
  refuseFlood(found)
  // Drawn at once as small as it is shown, so that a large one takes no more memory.
  const scale = Math.min(1, PREVIEW_WIDTH / found.width, PREVIEW_HEIGHT / found.height)
  const density = Math.max(1, Math.ceil(SVG_DENSITY * scale))
  return toPage(sharp(bytes, { limitInputPixels: MOST_PIXELS, failOn: 'warning', density }))
}

function refuseFlood({ width, height }: { width: number; height: number }): void {
  if (!(width * height <= MOST_PIXELS)) throw new RenderRefusal('too_many_pixels')
}

/** Whether a GIF has an end, but for padding: its first frame alone does not tell. */
function hasGifEnd(bytes: Buffer): boolean {
  let last = bytes.length - 1
  while (bytes[last] === 0) last -= 1
  return bytes[last] === GIF_END
}
