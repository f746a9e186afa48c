import { writeFile } from 'node:fs/promises'
import sharp from 'sharp'
import { PREVIEW_HEIGHT, PREVIEW_WIDTH } from '../protocol.ts'
import { MOST_PIXELS, type RenderedPage, toPage } from './page.ts'
import { RenderRefusal } from './refusal.ts'
import { hasSignature, type Signature } from './signature.ts'
import { runTool } from './tool.ts'

const INPUT = '/tmp/video'
/** Of a frame: eight thousand by four thousand. */
const MOST_FRAME_PIXELS = 8192 * 4320

/** Containers by their first bytes; ffmpeg is told which one it reads and never guesses. */
const CONTAINERS: readonly [demuxer: string, ...signatures: Signature[]][] = [
  ['mov', ...['ftyp', 'moov', 'mdat', 'wide', 'free', 'skip'].map((box): Signature => [[4, box]])],
  ['matroska', [[0, '\x1a\x45\xdf\xa3']]],
  [
    'avi',
    [
      [0, 'RIFF'],
      [8, 'AVI '],
    ],
  ],
  ['flv', [[0, 'FLV\x01']]],
  ['asf', [[0, '\x30\x26\xb2\x75\x8e\x66\xcf\x11']]],
  ['mpeg', [[0, '\0\0\x01\xba']]],
  ['mpegvideo', [[0, '\0\0\x01\xb3']]],
  ['mpegts', [0, 188, 376].map((offset) => [offset, 'G'] as const)],
]

/** The first frame. @throws RenderRefusal */
export async function renderVideo(bytes: Buffer): Promise<RenderedPage[]> {
  const container = CONTAINERS.find(([, ...signatures]) => hasSignature(bytes, ...signatures))
  if (!container) throw new RenderRefusal('unknown_format')
  await writeFile(INPUT, bytes)
  const frame = await runTool('ffmpeg', [
    ...['-hide_banner', '-loglevel', 'quiet', '-nostdin'],
    ...['-threads', '1', '-max_pixels', String(MOST_FRAME_PIXELS)],
    // A file that names others is never followed.
    ...['-protocol_whitelist', 'file', '-f', container[0], '-i', `file:${INPUT}`],
    ...['-map', '0:v:0', '-an', '-sn', '-dn', '-frames:v', '1', '-filter_threads', '1'],
    ...[
      '-vf',
      `scale=w='min(${PREVIEW_WIDTH},iw)':h='min(${PREVIEW_HEIGHT},ih)':force_original_aspect_ratio=decrease`,
    ],
    ...['-f', 'image2pipe', '-c:v', 'png', '-threads', '1', 'pipe:1'],
  ])
  if (frame.length === 0) throw new RenderRefusal('damaged')
  return [await toPage(sharp(frame, { limitInputPixels: MOST_PIXELS }))]
}
