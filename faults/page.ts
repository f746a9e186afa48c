import { readFile, writeFile } from 'node:fs/promises'

/** A part of a page of documentation that a program writes, between two marks. */
export interface Part {
  read(): Promise<string>
  /** Puts `text` between the marks. */
  write(text: string): Promise<void>
}

/** @param name of the marks, which are comments of Markdown: `<!-- name -->` and `<!-- /name -->` */
export function partOf(page: URL, name: string): Part {
  const begin = `<!-- ${name} -->`
  const end = `<!-- /${name} -->`

  async function split(): Promise<[before: string, between: string, after: string]> {
    const [before, rest] = (await readFile(page, 'utf8')).split(begin)
    const [between, after] = rest?.split(end) ?? []
    if (before === undefined || between === undefined || after === undefined) {
      throw new Error(`${page.pathname} has no place for ${begin}`)
    }
    return [before, between, after]
  }

  return {
    read: async () => (await split())[1],
    async write(text) {
      const [before, , after] = await split()
      await writeFile(page, `${before}${begin}\n\n${text}\n\n${end}${after}`)
    },
  }
}
