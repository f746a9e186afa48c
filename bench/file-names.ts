/** What file `index` of an account is called: like what people keep, and the same in each run. */
export function nameOf(index: number): string {
  const kind = ['invoice', 'contract', 'report'][index % 3]
  const day = String((index % 28) + 1).padStart(2, '0')
  const month = String((Math.floor(index / 28) % 12) + 1).padStart(2, '0')
  const client = `${syllables(index * 7919)} ${syllables(index * 104_729 + 17)}`
  const number = String((index * 2741) % 1_000_000).padStart(6, '0')
  return `${kind} 2026-${month}-${day} ${client} ${number}.pdf`
}

const CONSONANTS = 'bdfgklmnprstv'
const VOWELS = 'aeiou'

/** A word of three syllables, the same for the same number. */
function syllables(seed: number): string {
  let word = ''
  for (let left = Math.abs(seed) + 1, count = 0; count < 3; count += 1) {
    word += `${CONSONANTS[left % 13]}${VOWELS[Math.floor(left / 13) % 5]}`
    left = Math.floor(left / 65) + 31
  }
  return word
}
