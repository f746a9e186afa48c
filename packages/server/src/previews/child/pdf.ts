import { type PDFiumDocument, PDFiumLibrary } from '@hyzyla/pdfium'
import sharp from 'sharp'
import { MOST_PAGES, PREVIEW_HEIGHT, PREVIEW_WIDTH } from '../protocol.ts'
import { type RenderedPage, toPage } from './page.ts'
import { RenderRefusal } from './refusal.ts'

/** Readers look for the beginning of the document in so many bytes. */
const HEAD_BYTES = 1024

let library: Promise<PDFiumLibrary> | undefined

/** Gets ready, which takes longer than a page. */
export function loadPdfium(): Promise<PDFiumLibrary> {
  library ??= PDFiumLibrary.init()
  return library
}

/** The first pages. @throws RenderRefusal */
export async function renderPdf(bytes: Buffer): Promise<RenderedPage[]> {
  if (!bytes.subarray(0, HEAD_BYTES).includes('%PDF-')) throw new RenderRefusal('unknown_format')
  const document = await (await loadPdfium()).loadDocument(bytes)
  try {
    const count = Math.min(document.getPageCount(), MOST_PAGES)
    if (count === 0) throw new RenderRefusal('damaged')
    const pages: RenderedPage[] = []
    for (let index = 0; index < count; index += 1) pages.push(await renderPage(document, index))
    return pages
  } finally {
    document.destroy()
  }
}

async function renderPage(document: PDFiumDocument, index: number): Promise<RenderedPage> {
  const page = document.getPage(index)
  const { originalWidth, originalHeight } = page.getOriginalSize()
  const scale = Math.min(1, PREVIEW_WIDTH / originalWidth, PREVIEW_HEIGHT / originalHeight)
  if (!(scale > 0)) throw new RenderRefusal('damaged')
  const { data, width, height } = await page.render({
    width: Math.max(1, Math.floor(originalWidth * scale)),
    height: Math.max(1, Math.floor(originalHeight * scale)),
    render: 'bitmap',
  })
  return toPage(
    sharp(data, { raw: { width, height, channels: 4 } }).flatten({ background: '#fff' }),
  )
}
