/**
 * Makes previews, one job after the other, of bytes that nobody trusts. Started by `renderer.ts` with
 * limits, without settings and keys, and where the kernel allows it, without network and files.
 */
import { writeSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import {
  createPieceReader,
  encodeFrame,
  OUTPUT_DESCRIPTOR,
  type RenderEnd,
  type RenderRequest,
} from '../protocol.ts'
import { renderImage } from './image.ts'
import { renderOffice } from './office.ts'
import { type RenderedPage, restrictImages } from './page.ts'
import { loadPdfium, renderPdf } from './pdf.ts'
import { RenderRefusal } from './refusal.ts'
import { renderVideo } from './video.ts'

/** Requests come first. */
const NICENESS = 10

function render({ kind, extension }: RenderRequest, bytes: Buffer): Promise<RenderedPage[]> {
  switch (kind) {
    case 'image':
      return renderImage(bytes)
    case 'pdf':
      return renderPdf(bytes)
    case 'office':
      return renderOffice(bytes, extension)
    case 'video':
      return renderVideo(bytes)
  }
}

async function answer(request: RenderRequest, content: Buffer): Promise<RenderEnd> {
  try {
    for (const { bytes, ...head } of await render(request, content)) {
      say(encodeFrame({ page: { ...head, size: bytes.byteLength } }))
      say(bytes)
    }
    return { end: 'done' }
  } catch (error) {
    // Whatever a library throws says that it could not read the file.
    return { end: error instanceof RenderRefusal ? error.reason : 'damaged' }
  }
}

function say(bytes: Uint8Array): void {
  for (let sent = 0; sent < bytes.byteLength; ) {
    sent += writeSync(OUTPUT_DESCRIPTOR, bytes, sent)
  }
}

// More than it was given it may not take.
setPriority(Math.max(NICENESS, getPriority()))
restrictImages()
const input = createPieceReader(process.stdin as AsyncIterable<Buffer>)
void loadPdfium()
for (;;) {
  const request = (await input.frame()) as RenderRequest | undefined
  if (!request) break
  const content = await input.read(request.size)
  if (!content) break
  say(encodeFrame(await answer(request, content)))
}
