import { filesPath } from '../../packages/server/test/helpers/companies.ts'
import { createLedger, type Kept, LossError } from './ledger.ts'
import type { People } from './people.ts'
import { bytesOf, type Content, type Random, randomSize } from './random.ts'
import { expected, form, type Question } from './requests.ts'
import { patience, randomRange, readResult, type Traffic } from './traffic.ts'

const LARGEST = 4 * 1024 * 1024
const MOST_CHUNKS = 6

interface UploadState {
  readonly resource: {
    readonly complete: boolean
    readonly chunks: readonly { readonly chunk_number: number; readonly size: number }[]
  }
}

/** People and applications of a company: whole files, chunks in any order, overwrites, ranges. */
export function createCompanyTraffic(people: People, seed: string): Traffic {
  const ledger = createLedger()
  let made = 0

  const send = (
    method: string,
    fileId: string | undefined,
    rest: string,
    question: Question = {},
  ) =>
    people.ask(filesPath({ id: people.companyId }, fileId, rest), method, {
      headers: people.member,
      ...question,
    })

  function newContent(random: Random): Content {
    made += 1
    return { seed: `${seed} company ${made}`, size: randomSize(random, 1, LARGEST) }
  }

  async function announce(kept: Kept, size: number): Promise<void> {
    const query = new URLSearchParams({ filename: kept.name, total_size: String(size) })
    const answer = await send('POST', undefined, `?${query}`)
    kept.id = expected<{ resource: { id: string } }>(answer, 200).resource.id
  }

  async function sendChunk(
    kept: Kept,
    { bytes, number, count, size }: { bytes: Buffer; number: number; count: number; size: number },
    question: Question,
  ): Promise<void> {
    const query = new URLSearchParams({
      resumableChunkNumber: String(number),
      resumableTotalChunks: String(count),
      resumableTotalSize: String(size),
      filename: kept.name,
    })
    const body = form('file', Buffer.from(bytes), { filename: kept.name })
    expected(await send('POST', kept.id, `?${query}`, { ...question, body }), 200)
    kept.chunks.add(number)
  }

  /** All chunks of a content in any order, some of them twice, some at the same time. */
  async function sendChunks(
    kept: Kept,
    content: Content,
    random: Random,
    question: Question = {},
  ): Promise<void> {
    const bytes = bytesOf(content)
    const pieces = chunksOf(bytes, chunkCount(content))
    const numbers = pieces.map((_, index) => index + 1)
    const order = random.shuffled([...numbers, ...numbers.filter(() => random.onceIn(4))])
    while (order.length > 0) {
      const together = order.splice(0, random.between(1, 3))
      await allOf(
        together.map((number) => {
          const chunk = { bytes: pieces[number - 1] as Buffer, number }
          const totals = { count: pieces.length, size: bytes.length }
          return sendChunk(kept, { ...chunk, ...totals }, question)
        }),
      )
    }
  }

  async function upload(random: Random): Promise<void> {
    const content = newContent(random)
    const kept = ledger.add(`company-${made}.bin`)
    await announceSurely(kept, content.size)
    await ledger.change(kept, `uploaded in ${chunkCount(content)} chunks`, content, () =>
      sendChunks(kept, content, random, { giveUpAfter: patience(random) }),
    )
  }

  /** A file that nobody was told the id of is nobody's loss. */
  async function announceSurely(kept: Kept, size: number): Promise<void> {
    try {
      await announce(kept, size)
    } catch (error) {
      ledger.forget(kept)
      throw error
    }
  }

  async function overwrite(kept: Kept, random: Random): Promise<void> {
    const content = newContent(random)
    const question = { headers: people.application, giveUpAfter: patience(random) }
    if (random.onceIn(2)) {
      await ledger.change(kept, 'overwritten at once', content, async () => {
        const body = form('file', bytesOf(content), { filename: kept.name })
        expected(
          await send('POST', kept.id, '?total_chunks=1&chunk_number=1', { ...question, body }),
          200,
        )
      })
      return
    }
    await ledger.change(kept, `overwritten in ${chunkCount(content)} chunks`, content, () =>
      sendChunks(kept, content, random, question),
    )
  }

  async function remove(kept: Kept, random: Random): Promise<void> {
    await ledger.change(kept, 'deleted', 'gone', async () => {
      expected(await send('DELETE', kept.id, '', { giveUpAfter: patience(random) }), 200)
    })
  }

  async function read(kept: Kept, random: Random): Promise<void> {
    const [state] = kept.possible
    const range = randomRange(random, state && state !== 'gone' ? state.size : 0)
    await ledger.read(kept, 'a download', async () => {
      const headers = { ...people.member, ...range?.header }
      const answer = await send('GET', kept.id, '/download', { headers })
      // Overwritten by something shorter meanwhile.
      if (answer.status === 416 && (kept.busy || kept.possible[0] !== state)) return 'gone'
      return readResult(answer, range?.start)
    })
  }

  /** An upload that was cut: every chunk that was acknowledged is there, and the rest completes it. */
  async function resume(kept: Kept, content: Content): Promise<void> {
    const answer = await send('GET', kept.id, '/upload')
    const { complete, chunks } = expected<UploadState>(answer, 200).resource
    if (complete) return
    const there = new Set(chunks.map((chunk) => chunk.chunk_number))
    const lost = [...kept.chunks].filter((number) => !there.has(number))
    if (lost.length > 0) throw new LossError(`chunks ${lost} were acknowledged and are gone`, kept)
    const pieces = chunksOf(bytesOf(content), chunkCount(content))
    for (const [index, bytes] of pieces.entries()) {
      if (there.has(index + 1)) continue
      const totals = { count: pieces.length, size: content.size }
      await sendChunk(kept, { bytes, number: index + 1, ...totals }, {})
    }
  }

  return {
    name: 'company files',
    ledger,

    async step(random) {
      const kept = ledger.any(random)
      const isFull = ledger.isFull()
      if (!kept || (!isFull && random.onceIn(3))) return upload(random)
      if (isFull ? random.onceIn(2) : random.onceIn(8)) return remove(kept, random)
      if (random.onceIn(4)) return overwrite(kept, random)
      return read(kept, random)
    },

    async check() {
      for (const kept of ledger.all()) {
        const download = () => send('GET', kept.id, '/download')
        let answer = await download()
        const content = kept.possible.findLast((state) => state !== 'gone')
        if (answer.status === 409 && content) {
          await resume(kept, content)
          answer = await download()
        }
        const found = readResult(answer)
        ledger.settle(kept, found)
        if (found === 'gone') ledger.forget(kept)
      }
    },
  }
}

/** Of a size, always the same. */
function chunkCount({ size }: Content): number {
  return Math.max(1, Math.min(size, (size % MOST_CHUNKS) + 1))
}

/** All of the same size but the last. */
function chunksOf(bytes: Buffer, count: number): Buffer[] {
  const size = Math.floor(bytes.length / count)
  return Array.from({ length: count }, (_, index) =>
    bytes.subarray(index * size, index === count - 1 ? bytes.length : (index + 1) * size),
  )
}

/** Waits for all of them, also when one fails: nothing may be on its way any more. */
async function allOf(work: readonly Promise<void>[]): Promise<void> {
  const settled = await Promise.allSettled(work)
  const failures = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
  const [worst] = failures.sort((one) => (one.name === 'CutError' ? 1 : -1))
  if (worst) throw worst
}
