import sharp, { type Sharp } from 'sharp'
import { PREVIEW_HEIGHT, PREVIEW_TYPE, PREVIEW_WIDTH } from '../protocol.ts'

/** A preview that was made. */
export interface RenderedPage {
  readonly type: string
  /** Pixels, like `height`. */
  readonly width: number
  readonly height: number
  readonly bytes: Uint8Array
}

/** Pixels of one picture: a hundred megapixels, which is 400 MB when it must be held as a whole. */
export const MOST_PIXELS = 100_000_000

const LOADERS = ['Jpeg', 'Png', 'Webp', 'Heif', 'Tiff', 'Nsgif', 'Svg']

/** Leaves libvips the few loaders of what is shown, from memory only, with one thread and no cache. */
export function restrictImages(): void {
  sharp.concurrency(1)
  sharp.cache(false)
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({ operation: LOADERS.map((name) => `VipsForeignLoad${name}Buffer`) })
}

/** Makes a preview of an opened picture: fitted, never enlarged, without any of its metadata. */
export async function toPage(image: Sharp): Promise<RenderedPage> {
  const { data, info } = await image
    .resize({
      width: PREVIEW_WIDTH,
      height: PREVIEW_HEIGHT,
      fit: 'inside',
      withoutEnlargement: true,
    })
    .webp({ quality: 80, effort: 2 })
    .toBuffer({ resolveWithObject: true })
  return { type: PREVIEW_TYPE, width: info.width, height: info.height, bytes: data }
}
