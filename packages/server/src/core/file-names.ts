/** Separators of paths and characters that no screen shows. */
const UNWANTED = /[/\\\p{Cc}]/gu

/**
 * The name under which a file is kept: as it was given, without what could be taken for a path or
 * hide on a screen.
 */
export function cleanFileName(given: string): string {
  return given.replace(UNWANTED, '').trim() || 'file'
}

/** Splits at the last dot only: `a.tar.gz` is `a.tar` and `gz`. No dot, no extension. */
export function splitFileName(full: string): { name: string; extension: string } {
  const dot = full.lastIndexOf('.')
  return dot === -1
    ? { name: full, extension: '' }
    : { name: full.slice(0, dot), extension: full.slice(dot + 1) }
}

/**
 * The form in which names are searched: compatibility forms, case and accents make no difference.
 * The same for names and keywords; a change means that the index is built anew.
 */
export function searchForm(text: string): string {
  // By way of capitals, as `ß` and `SS` are equal, and so are both small forms of sigma.
  return bare(bare(text).toUpperCase().toLowerCase().replaceAll('ς', 'σ'))
}

function bare(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '')
}
