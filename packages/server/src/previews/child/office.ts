import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { MOST_PAGES } from '../protocol.ts'
import type { RenderedPage } from './page.ts'
import { renderPdf } from './pdf.ts'
import { RenderRefusal } from './refusal.ts'
import { hasSignature } from './signature.ts'
import { runTool } from './tool.ts'
import { checkedEntries } from './zip.ts'

const PROFILE = '/tmp/profile'
const OUTPUT = '/tmp/input.pdf'
/** Of text, ten pages are in the beginning. */
const MOST_TEXT_BYTES = 256 * 1024

type Container = 'opendocument' | 'ooxml' | 'ole' | 'rtf' | 'flat' | 'text' | 'dbf'

/** How LibreOffice is told to read a file, so that it never guesses. */
interface OfficeFormat {
  readonly container: Container
  readonly family: 'writer' | 'writer_web' | 'calc' | 'impress' | 'draw'
  readonly filter: string
  readonly extensions: string
}

const FORMATS: readonly OfficeFormat[] = [
  { container: 'opendocument', family: 'writer', filter: 'writer8', extensions: 'odt ott' },
  { container: 'opendocument', family: 'calc', filter: 'calc8', extensions: 'ods ots' },
  { container: 'opendocument', family: 'impress', filter: 'impress8', extensions: 'odp otp' },
  { container: 'opendocument', family: 'draw', filter: 'draw8', extensions: 'odg' },
  {
    container: 'ooxml',
    family: 'writer',
    filter: 'MS Word 2007 XML',
    extensions: 'docx docm dotx',
  },
  {
    container: 'ooxml',
    family: 'calc',
    filter: 'Calc MS Excel 2007 XML',
    extensions: 'xlsx xlsm xltx',
  },
  {
    ...{ container: 'ooxml', family: 'impress' },
    ...{ filter: 'Impress MS PowerPoint 2007 XML', extensions: 'pptx pptm potx ppsx' },
  },
  { container: 'ole', family: 'writer', filter: 'MS Word 97', extensions: 'doc dot' },
  { container: 'ole', family: 'calc', filter: 'MS Excel 97', extensions: 'xls xlt' },
  { container: 'ole', family: 'impress', filter: 'MS PowerPoint 97', extensions: 'ppt pps pot' },
  { container: 'rtf', family: 'writer', filter: 'Rich Text Format', extensions: 'rtf doc' },
  { container: 'flat', family: 'writer', filter: 'OpenDocument Text Flat XML', extensions: 'fodt' },
  {
    container: 'flat',
    family: 'calc',
    filter: 'OpenDocument Spreadsheet Flat XML',
    extensions: 'fods',
  },
  {
    ...{ container: 'flat', family: 'impress' },
    ...{ filter: 'OpenDocument Presentation Flat XML', extensions: 'fodp' },
  },
  { container: 'text', family: 'writer', filter: 'Text (encoded):UTF8', extensions: 'txt xml' },
  { container: 'text', family: 'writer_web', filter: 'HTML', extensions: 'html' },
  {
    container: 'text',
    family: 'calc',
    filter: 'Text - txt - csv (StarCalc):44,34,76',
    extensions: 'csv',
  },
  { container: 'text', family: 'calc', filter: 'DIF', extensions: 'dif' },
  { container: 'text', family: 'calc', filter: 'SYLK', extensions: 'slk' },
  { container: 'dbf', family: 'calc', filter: 'dBase', extensions: 'dbf' },
]

/** Nothing in a document runs or is fetched; what it links to is not looked for. */
const SETTINGS: readonly [path: string, name: string, value: string][] = [
  ['org.openoffice.Office.Common/Security/Scripting', 'MacroSecurityLevel', '3'],
  ['org.openoffice.Office.Common/Security/Scripting', 'DisableMacrosExecution', 'true'],
  ['org.openoffice.Office.Common/Security/Scripting', 'DisableActiveContent', 'true'],
  ['org.openoffice.Office.Common/Security/Scripting', 'BlockUntrustedRefererLinks', 'true'],
  ['org.openoffice.Office.Writer/Content/Update', 'Link', '2'],
  ['org.openoffice.Office.Calc/Content/Update', 'Link', '2'],
]

/** The first pages, as LibreOffice prints them. @throws RenderRefusal */
export async function renderOffice(bytes: Buffer, extension: string): Promise<RenderedPage[]> {
  const format = await formatOf(bytes, extension)
  const input = `/tmp/input.${extension}`
  await writeFile(input, format.container === 'text' ? bytes.subarray(0, MOST_TEXT_BYTES) : bytes)
  await writeProfile()
  const pages = JSON.stringify({ PageRange: { type: 'string', value: `1-${MOST_PAGES}` } })
  await runTool('soffice', [
    ...['--headless', '--norestore', '--nologo', '--nodefault', '--nolockcheck'],
    ...['--nofirststartwizard', `-env:UserInstallation=file://${PROFILE}`],
    `--infilter=${format.filter}`,
    ...['--convert-to', `pdf:${format.family}_pdf_Export:${pages}`, '--outdir', '/tmp', input],
  ])
  // It ends well also when it could not read its input.
  const pdf = await readFile(OUTPUT).catch((cause: unknown) => {
    throw new RenderRefusal('damaged', { cause })
  })
  return renderPdf(pdf)
}

async function formatOf(bytes: Buffer, extension: string): Promise<OfficeFormat> {
  const container = await containerOf(bytes, extension)
  const format = FORMATS.find(
    (each) => each.container === container && each.extensions.split(' ').includes(extension),
  )
  if (!format) throw new RenderRefusal('unknown_format')
  return format
}

async function containerOf(bytes: Buffer, extension: string): Promise<Container> {
  if (hasSignature(bytes, [[0, 'PK\x03\x04']])) {
    const names = await checkedEntries(bytes)
    return names.includes('[Content_Types].xml') ? 'ooxml' : 'opendocument'
  }
  if (hasSignature(bytes, [[0, '\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1']])) return 'ole'
  if (hasSignature(bytes, [[0, '{\\rtf']])) return 'rtf'
  if (extension === 'dbf') return 'dbf'
  if (bytes.subarray(0, MOST_TEXT_BYTES).includes(0)) throw new RenderRefusal('unknown_format')
  return extension.startsWith('fod') ? 'flat' : 'text'
}

async function writeProfile(): Promise<void> {
  const items = SETTINGS.map(
    ([path, name, value]) =>
      `<item oor:path="/${path}"><prop oor:name="${name}" oor:op="fuse"><value>${value}</value></prop></item>`,
  )
  await mkdir(`${PROFILE}/user`, { recursive: true })
  await writeFile(
    `${PROFILE}/user/registrymodifications.xcu`,
    `<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">${items.join('')}</oor:items>`,
  )
}
