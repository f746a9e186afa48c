import { RenderRefusal } from './refusal.ts'

/** Where the root element of a document is looked for. */
const HEAD_BYTES = 64 * 1024

/** Whether bytes are an SVG document, as text in UTF-8. */
export function isSvg(bytes: Buffer): boolean {
  const head = bytes.toString('utf8', 0, HEAD_BYTES)
  const root = head
    .replace(/^\uFEFF/, '')
    .replace(/<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<!DOCTYPE[^>[]*(\[[\s\S]*?\]\s*)?>/gi, '')
  return /^\s*<(\w+:)?svg[\s>/]/.test(root)
}

/** What loads or runs something, or can hide that. The renderer ignores all of it; it is refused all the same. */
const ACTIVE: readonly RegExp[] = [
  /<\s*(\w+:)?script[\s>/]/i,
  /\son\w+\s*=/i,
  /javascript:/i,
  /<!ENTITY/i,
  /<!DOCTYPE[^>]*\[/i,
  /<\?xml-stylesheet/i,
  /<\s*(\w+:)?(foreignObject|include)[\s>/]/i,
  /@import/i,
]
const REFERENCE = /(?:\bhref|\bsrc|\bxml:base)\s*=\s*(["'])\s*([\s\S]*?)\1/gi
const CSS_REFERENCE = /url\(\s*["']?\s*([^)]*)/gi
const INSIDE = /^(#|data:image\/(png|jpe?g|gif|webp)[;,]|$)/i

/** @throws RenderRefusal for scripts, for references to anything outside, and for what may hide them */
export function refuseActiveSvg(bytes: Buffer): void {
  const text = bytes.toString('utf8')
  const isEncodedOtherwise =
    /^[^>]*encoding\s*=\s*["'](?!utf-?8["'])/i.test(text) || text.includes('\0')
  const references = [
    ...Array.from(text.matchAll(REFERENCE), (match) => match[2] ?? ''),
    ...Array.from(text.matchAll(CSS_REFERENCE), (match) => match[1] ?? ''),
  ]
  if (
    isEncodedOtherwise ||
    ACTIVE.some((pattern) => pattern.test(text)) ||
    references.some((reference) => !INSIDE.test(reference))
  ) {
    throw new RenderRefusal('active_content')
  }
}
