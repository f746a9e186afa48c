import { PUBLIC_KEY } from '../../packages/server/test/helpers/server.ts'
import { createLedger, type Kept, LossError } from './ledger.ts'
import type { People } from './people.ts'
import { bytesOf, type Random, randomSize } from './random.ts'
import { expected, form, type Question } from './requests.ts'
import { patience, randomRange, readResult, type Traffic } from './traffic.ts'

const LARGEST = 3 * 1024 * 1024
const PAGE = 500

/** What stands in a list, by what it was called, and what removes it. */
interface Listed {
  readonly name: string
  readonly id: string
  readonly fileId: string
}

/** Where files of one kind are put, listed and removed. */
interface Place {
  upload(name: string, bytes: Buffer<ArrayBuffer>, question: Question): Promise<Listed>
  remove(id: string, question: Question): Promise<void>
  /** All of them. */
  list(): Promise<Listed[]>
}

/** Messages with files in a box. */
export function createBoxTraffic(people: People, seed: string): Traffic {
  return createTraffic('box files', people, `${seed} box`, {
    async upload(name, bytes, question) {
      const fields = { msg_encrypted_content: name, msg_public_key: PUBLIC_KEY }
      const answer = await people.ask(boxPath(people, '/encrypted-files'), 'POST', {
        ...question,
        body: form('encrypted_file', bytes, fields),
      })
      return listedEvent(expected<Event>(answer, 201))
    },
    async remove(id, question) {
      const json = { type: 'msg.delete', referrer_id: id }
      expected(await people.ask(boxPath(people, '/events'), 'POST', { ...question, json }), 201)
    },
    async list() {
      const found: Listed[] = []
      for (let offset = 0; ; offset += PAGE) {
        const query = `?offset=${offset}&limit=${PAGE}`
        const answer = await people.ask(boxPath(people, `/files${query}`), 'GET', {
          headers: people.session,
        })
        const page = expected<Event[]>(answer, 200)
        found.push(...page.map(listedEvent))
        if (page.length < PAGE) return found
      }
    },
  })
}

/** Files that somebody keeps for herself. */
export function createSavedTraffic(people: People, seed: string): Traffic {
  return createTraffic('saved files', people, `${seed} saved`, {
    async upload(name, bytes, question) {
      const fields = { encrypted_metadata: name, key_fingerprint: 'Zk3-h_' }
      const path = `/box-users/${people.identityId}/saved-files`
      const body = form('encrypted_file', bytes, fields)
      return listedSaved(
        expected<SavedFile>(await people.ask(path, 'POST', { ...question, body }), 201),
      )
    },
    async remove(id, question) {
      const path = `/saved-files/${id}`
      expected(await people.ask(path, 'DELETE', question), 204)
    },
    async list() {
      const path = '/saved-files?limit=0'
      const answer = await people.ask(path, 'GET', { headers: people.session })
      return expected<SavedFile[]>(answer, 200).map(listedSaved)
    },
  })
}

function createTraffic(name: string, people: People, seed: string, place: Place): Traffic {
  const ledger = createLedger()
  const ids = new Map<Kept, string>()
  let made = 0

  async function upload(random: Random): Promise<void> {
    made += 1
    const content = { seed: `${seed} ${made}`, size: randomSize(random, 1, LARGEST) }
    const kept = ledger.add(`${seed.replaceAll(/\W/g, '')}${made}`)
    await ledger.change(kept, 'uploaded', content, async () => {
      const question = { headers: people.session, giveUpAfter: patience(random) }
      const listed = await place.upload(kept.name, bytesOf(content), question)
      remember(kept, listed)
    })
  }

  function remember(kept: Kept, { id, fileId }: Listed): void {
    kept.id = fileId
    ids.set(kept, id)
  }

  async function remove(kept: Kept, random: Random): Promise<void> {
    await ledger.change(kept, 'deleted', 'gone', () =>
      place.remove(String(ids.get(kept)), {
        headers: people.session,
        giveUpAfter: patience(random),
      }),
    )
  }

  async function read(kept: Kept, random: Random): Promise<void> {
    const [state] = kept.possible
    const range = randomRange(random, state && state !== 'gone' ? state.size : 0)
    await ledger.read(kept, 'a download', async () =>
      readResult(await download(kept, range?.header), range?.start),
    )
  }

  const download = (kept: Kept, headers = {}) =>
    people.ask(`/encrypted-files/${kept.id}`, 'GET', {
      headers: { ...people.session, ...headers },
    })

  return {
    name,
    ledger,

    async step(random) {
      const kept = ledger.any(random)
      const isFull = ledger.isFull()
      if (!kept || (!isFull && random.onceIn(3))) return upload(random)
      if (isFull ? random.onceIn(2) : random.onceIn(6)) return remove(kept, random)
      if (random.onceIn(15)) return void (await place.list())
      return read(kept, random)
    },

    async check() {
      const listed = new Map((await place.list()).map((one) => [one.name, one]))
      for (const kept of ledger.all()) {
        const shown = listed.get(kept.name)
        listed.delete(kept.name)
        if (shown) {
          remember(kept, shown)
          ledger.settle(kept, readResult(await download(kept)))
          continue
        }
        ledger.settle(kept, 'gone')
        const { status } = kept.id ? await download(kept) : { status: 404 }
        if (status !== 404) throw new LossError(`it is deleted, and answers ${status}`, kept)
        ids.delete(kept)
        ledger.forget(kept)
      }
      const [other] = listed.keys()
      if (other) throw new LossError(`${other} is listed, which nobody sent or which is deleted`)
    },
  }
}

interface Event {
  readonly id: string
  readonly content: { readonly encrypted: string; readonly encrypted_file_id: string }
}

interface SavedFile {
  readonly id: string
  readonly encrypted_metadata: string
  readonly encrypted_file_id: string
}

function listedEvent({ id, content }: Event): Listed {
  return { id, name: content.encrypted, fileId: content.encrypted_file_id }
}

function listedSaved({ id, encrypted_metadata, encrypted_file_id }: SavedFile): Listed {
  return { id, name: encrypted_metadata, fileId: encrypted_file_id }
}

function boxPath({ boxId }: People, rest: string): string {
  return `/boxes/${boxId}${rest}`
}
