/** Whether a word stands somewhere, in any of the ways in which it may without having been sealed. */
export function isIn(bytes: Buffer, text: string): boolean {
  return writingsOf(text).some((writing) => bytes.includes(writing))
}

/** A word in UTF-8 and UTF-16, in any case, as base64, hexadecimal digits and percent-encoded. */
export function writingsOf(word: string): Buffer[] {
  return [word, word.toUpperCase(), word.toLowerCase()].flatMap((text) => {
    const plain = Buffer.from(text)
    const hex = plain.toString('hex')
    const percent = hex.replace(/../g, '%$&')
    const utf16 = Buffer.from(text, 'utf16le')
    const written = [...base64Of(plain), hex, hex.toUpperCase(), percent, percent.toUpperCase()]
    return [plain, utf16, Buffer.from(utf16).swap16(), ...written.map((each) => Buffer.from(each))]
  })
}

/** What of the base64 of a longer text is the same wherever `bytes` stand in it. */
export function base64Of(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((before) => {
    const padded = Buffer.concat([Buffer.alloc(before), bytes])
    const whole = padded.length - (padded.length % 3)
    const text = padded
      .subarray(0, whole)
      .toString('base64')
      .slice(before === 0 ? 0 : 4)
    return [text, text.replaceAll('+', '-').replaceAll('/', '_')]
  })
}

/** Finds many marks in many megabytes at once. */
export interface Finder {
  /** The names of the marks that stand in `bytes`. */
  find(bytes: Uint8Array): string[]
}

const PREFIX_BITS = 24

/** @param marks how each may be written, by its name; no writing is shorter than three bytes */
export function createFinder(marks: ReadonlyMap<string, readonly Buffer[]>): Finder {
  // Which three bytes may begin something: hardly any place of sealed bytes does.
  const begins = new Uint8Array(2 ** PREFIX_BITS)
  const byPrefix = new Map<number, { name: string; writing: Buffer }[]>()
  for (const [name, writings] of marks) {
    for (const writing of writings) {
      const prefix = writing.readUIntBE(0, 3)
      begins[prefix] = 1
      byPrefix.set(prefix, [...(byPrefix.get(prefix) ?? []), { name, writing }])
    }
  }
  return {
    find(bytes) {
      const found = new Set<string>()
      let last = 0
      for (let at = 0; at < bytes.length; at += 1) {
        last = ((last << 8) | (bytes[at] as number)) & (2 ** PREFIX_BITS - 1)
        if (at < 2 || begins[last] !== 1) continue
        for (const { name, writing } of byPrefix.get(last) ?? []) {
          if (writing.equals(bytes.subarray(at - 2, at - 2 + writing.length))) found.add(name)
        }
      }
      return [...found]
    },
  }
}
