import { createLedger, type Kept, LossError, type State } from './ledger.ts'
import type { People } from './people.ts'
import { bytesOf, type Random, randomSize } from './random.ts'
import { CutError, expected, form, type Question } from './requests.ts'
import { patience, randomRange, readResult, type Traffic } from './traffic.ts'

const LARGEST = 3 * 1024 * 1024

interface Listed {
  readonly id: string
  readonly full_filename: string
  readonly trashed: boolean
  readonly size: number
}

/** Programs with an account: upload, list, search, download one or many, delete. */
export function createAccountTraffic(people: People, seed: string): Traffic {
  const ledger = createLedger()
  let made = 0

  const api = (method: string, path: string, question: Question = {}) =>
    people.ask(`/api${path}`, method, {
      ...question,
      headers: { ...people.member, ...question.headers },
    })

  async function upload(random: Random): Promise<void> {
    made += 1
    const content = { seed: `${seed} account ${made}`, size: randomSize(random, 0, LARGEST) }
    const kept = ledger.add(`file-${made}.bin`)
    await ledger.change(kept, 'uploaded', content, async () => {
      const answer = await api('POST', '/files', {
        body: form('file', bytesOf(content), { filename: kept.name }),
        giveUpAfter: patience(random),
      })
      kept.id = expected<{ data: Listed }>(answer, 201).data.id
    })
  }

  async function remove(kept: Kept, random: Random): Promise<void> {
    await ledger.change(kept, 'deleted', 'gone', async () => {
      const answer = await api('DELETE', `/files/${kept.id}`, { giveUpAfter: patience(random) })
      if (answer.status >= 300) throw new LossError(`its deletion answered ${answer.status}`, kept)
    })
  }

  async function read(kept: Kept, random: Random): Promise<void> {
    const range = randomRange(random, sizeOf(kept))
    await ledger.read(kept, 'a download', async () => {
      const headers = { ...range?.header, 'x-pin-key': await people.pinKey() }
      return readResult(await api('GET', `/files/${kept.id}/download`, { headers }), range?.start)
    })
  }

  /** Several files as one archive, as the documents say. */
  async function readMany(files: readonly Kept[]): Promise<void> {
    const contents = files.map(({ possible }) => possible[0])
    const made = await api('POST', '/downloads', { json: { files: files.map(({ id }) => id) } })
    if (made.status === 422) return
    const { id } = expected<{ data: { id: string } }>(made, 201).data
    const keyed = await api('POST', `/downloads/${id}/keys`, {
      json: { pinKey: await people.pinKey() },
    })
    const { key } = expected<{ data: { key: string } }>(keyed, 201).data
    const zip = await api('GET', `/downloads/${id}/${key}`).catch((error: unknown) => {
      // A file of it may be removed while it is sent.
      if (error instanceof CutError && !files.every(isStill(contents, files))) return undefined
      throw error
    })
    if (zip?.status !== 200) return
    for (const [index, kept] of files.entries()) {
      const content = contents[index]
      if (!content || content === 'gone' || zip.bytes.includes(bytesOf(content))) continue
      throw new LossError('an archive does not have its content', kept)
    }
  }

  async function listed(query: string): Promise<Listed[]> {
    return expected<{ data: Listed[] }>(await api('GET', `/files${query}`), 200).data
  }

  return {
    name: 'account files',
    ledger,

    async step(random) {
      const kept = ledger.any(random)
      const isFull = ledger.isFull()
      if (!kept || (!isFull && random.onceIn(3))) return upload(random)
      if (isFull ? random.onceIn(2) : random.onceIn(6)) return remove(kept, random)
      if (random.onceIn(8)) {
        const others = [ledger.any(random), ledger.any(random)].filter(
          (other) => other !== undefined,
        )
        return readMany([...new Set([kept, ...others])])
      }
      if (random.onceIn(10))
        return void (await listed(`?keyword=${kept.name}&sort=-size&per_page=20`))
      return read(kept, random)
    },

    async check() {
      const byName = new Map((await listed('')).map((file) => [file.full_filename, file]))
      for (const kept of ledger.all()) {
        const file = byName.get(kept.name)
        byName.delete(kept.name)
        if (!file || file.trashed) {
          ledger.settle(kept, 'gone')
          if (kept.id) await requireGone(kept)
          ledger.forget(kept)
          continue
        }
        kept.id = file.id
        const headers = { 'x-pin-key': await people.pinKey() }
        ledger.settle(kept, readResult(await api('GET', `/files/${file.id}/download`, { headers })))
      }
      for (const [name, { trashed }] of byName) {
        // Files that went earlier are remembered by the server for a month.
        if (!trashed)
          throw new LossError(`${name} is listed, which nobody uploaded or which is deleted`)
      }
    },
  }

  async function requireGone(kept: Kept): Promise<void> {
    const headers = { 'x-pin-key': await people.pinKey() }
    const { status } = await api('GET', `/files/${kept.id}/download`, { headers })
    if (status !== 404)
      throw new LossError(`it is deleted, and its download answers ${status}`, kept)
  }
}

function sizeOf({ possible }: Kept): number {
  const [state] = possible
  return state === undefined || state === 'gone' ? 0 : state.size
}

function isStill(contents: readonly (State | undefined)[], files: readonly Kept[]) {
  return (kept: Kept) => {
    const before = contents[files.indexOf(kept)]
    return !kept.busy && kept.possible.length === 1 && kept.possible[0] === before
  }
}
