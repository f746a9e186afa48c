/** What it takes to show a file: programs of the operating system for the last two. */
export type PreviewKind = 'image' | 'pdf' | 'office' | 'video'

export const PREVIEW_KINDS: readonly PreviewKind[] = ['image', 'pdf', 'office', 'video']

/** What a file claims to be. */
export interface PreviewFormat {
  readonly kind: PreviewKind
  /** In lower case: the one of its name, or the usual one of its media type. */
  readonly extension: string
}

const EXTENSIONS: Record<PreviewKind, string> = {
  image: 'jpeg jpg png webp avif tiff tif gif svg',
  pdf: 'pdf',
  office:
    'odt ott fodt docx docm dotx doc dot rtf txt html xml ' +
    'ods ots fods xlsx xlsm xltx xls xlt csv dif slk dbf ' +
    'odp otp odg fodp pptx pptm potx ppsx ppt pps pot',
  video: 'mp4 m4v mov webm mkv avi flv wmv mpg mpeg',
}

const MEDIA_TYPES: Record<string, string> = {
  'image/jpeg': 'jpg',
  'image/jpg': 'jpg',
  'image/png': 'png',
  'image/webp': 'webp',
  'image/avif': 'avif',
  'image/tiff': 'tiff',
  'image/gif': 'gif',
  'image/svg+xml': 'svg',
  'application/pdf': 'pdf',
  'application/msword': 'doc',
  'application/rtf': 'rtf',
  'text/rtf': 'rtf',
  'text/plain': 'txt',
  'text/csv': 'csv',
  'text/html': 'html',
  'text/xml': 'xml',
  'application/xml': 'xml',
  'application/vnd.ms-excel': 'xls',
  'application/vnd.ms-powerpoint': 'ppt',
  'application/vnd.oasis.opendocument.text': 'odt',
  'application/vnd.oasis.opendocument.spreadsheet': 'ods',
  'application/vnd.oasis.opendocument.presentation': 'odp',
  'application/vnd.oasis.opendocument.graphics': 'odg',
  'application/vnd.openxmlformats-officedocument.wordprocessingml.document': 'docx',
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'xlsx',
  'application/vnd.openxmlformats-officedocument.presentationml.presentation': 'pptx',
  'video/mp4': 'mp4',
  'video/x-m4v': 'm4v',
  'video/quicktime': 'mov',
  'video/webm': 'webm',
  'video/x-matroska': 'mkv',
  'video/x-msvideo': 'avi',
  'video/x-flv': 'flv',
  'video/x-ms-wmv': 'wmv',
  'video/mpeg': 'mpg',
}

const KIND_OF = new Map(
  PREVIEW_KINDS.flatMap((kind) =>
    EXTENSIONS[kind].split(' ').map((extension) => [extension, kind] as const),
  ),
)

/** What a file claims to be by its name or else by its media type; undefined when nothing shows it. */
export function previewFormat(file: { name: string; mime: string }): PreviewFormat | undefined {
  const byName = /\.(\w+)$/.exec(file.name)?.[1]?.toLowerCase()
  const [type = ''] = file.mime.toLowerCase().split(';', 1)
  for (const extension of [byName, MEDIA_TYPES[type.trim()]]) {
    const kind = extension && KIND_OF.get(extension)
    if (kind) return { kind, extension }
  }
  return undefined
}
