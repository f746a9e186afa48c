import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pattern } from '../helpers/bytes.ts'
import { type Answer, call } from '../helpers/http.ts'
import {
  createOpenBox,
  deleteBox,
  deleteMessage,
  download,
  filesWithBytes,
  listSaved,
  post,
  type SavedFileJson,
  save,
  saveUpload,
  unsave,
} from '../helpers/saved-files.ts'
import {
  PUBLIC_KEY,
  type SignedIn,
  signIn,
  startTestServer,
  type TestServer,
  uploadForm,
} from '../helpers/server.ts'

const SLOW = process.env.SLOW === '1'
const NAMES = ['Ann', 'Bob', 'Cid'] as const
/** Bytes: some fit into the database, some do not. */
const SIZES = [1, 1000, 65_536, 65_537, 150_000]

/** One thing that somebody tries; `which` chooses among what there is. */
interface Step {
  what: (typeof STEPS)[number]
  person: number
  which: number
  size: number
}

const STEPS = [
  'upload',
  'upload',
  'upload',
  'save',
  'save',
  'save',
  'saveUpload',
  'unsave',
  'unsave',
  'deleteMessage',
  'deleteMessage',
  'text',
  'edit',
  'join',
  'leave',
  'deleteBox',
] as const

const step: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom(...STEPS),
  person: fc.nat({ max: NAMES.length - 1 }),
  which: fc.nat({ max: 1000 }),
  size: fc.constantFrom(...SIZES),
})

interface ModelBox {
  id: string
  creator: SignedIn
  members: Set<SignedIn>
  there: boolean
  /** Bytes, once something was written. */
  used: number | undefined
}

interface ModelMessage {
  id: string
  box: ModelBox
  author: SignedIn
  size: number
  /** Undefined of a text. */
  file: ModelFile | undefined
  there: boolean
}

interface ModelFile {
  id: string
  bytes: Buffer
}

interface ModelSaved {
  id: string
  owner: SignedIn
  file: ModelFile
  there: boolean
}

/** What should be, by the rules alone, next to the server that is asked. */
class Model {
  readonly server: TestServer
  readonly people: readonly SignedIn[]
  readonly boxes: readonly ModelBox[]
  readonly messages: ModelMessage[] = []
  readonly files: ModelFile[] = []
  readonly saved: ModelSaved[] = []
  /** What a run that failed has left. */
  readonly earlier: readonly string[]

  constructor(
    server: TestServer,
    people: readonly SignedIn[],
    boxes: readonly ModelBox[],
    earlier: readonly string[],
  ) {
    this.server = server
    this.people = people
    this.boxes = boxes
    this.earlier = earlier
  }

  isInBoxOf(who: SignedIn, file: ModelFile): boolean {
    return this.messages.some(
      (message) => message.file === file && message.there && message.box.members.has(who),
    )
  }

  hasSaved(who: SignedIn, file: ModelFile): boolean {
    return this.saved.some((saved) => saved.file === file && saved.there && saved.owner === who)
  }

  isLinked(file: ModelFile): boolean {
    return [...this.messages, ...this.saved].some((link) => link.file === file && link.there)
  }

  savedBy(who: SignedIn): ModelSaved[] {
    return this.saved.filter(({ owner, there }) => owner === who && there).reverse()
  }

  /** Does one step and holds the answer's status against the rules. */
  async take({ what, person, which, size }: Step): Promise<void> {
    const { server } = this
    const who = of(this.people, person)
    const box = of(this.boxes, which)
    switch (what) {
      case 'upload': {
        const bytes = pattern(size, which)
        const answer = await call(server, 'POST', `/boxes/${box.id}/encrypted-files`, {
          as: who,
          body: uploadForm(bytes),
        })
        expect(answer, box.members.has(who) ? 201 : 403)
        if (answer.status !== 201) return
        const { id, content } = answer.body as EventJson
        const file = { id: content?.encrypted_file_id ?? '', bytes }
        this.files.push(file)
        this.write(id, box, who, size, file)
        return
      }
      case 'text': {
        const content = { encrypted: 'x'.repeat(size % 997), public_key: PUBLIC_KEY }
        const answer = await post(server, who, box.id, { type: 'msg.text', content })
        expect(answer, box.members.has(who) ? 201 : 403)
        if (answer.status !== 201) return
        this.write((answer.body as EventJson).id, box, who, size % 997, undefined)
        return
      }
      case 'edit': {
        const message = pick(this.messages, which)
        if (!message) return
        const content = { new_encrypted: 'y'.repeat(size % 991), new_public_key: PUBLIC_KEY }
        const event = { type: 'msg.edit', referrer_id: message.id, content }
        const answer = await post(server, who, message.box.id, event)
        expect(answer, this.statusOfEdit(who, message))
        if (answer.status !== 201) return
        message.box.used = (message.box.used ?? 0) + (size % 991) - message.size
        message.size = size % 991
        return
      }
      case 'deleteMessage': {
        const message = pick(this.messages, which)
        if (!message) return
        const answer = await deleteMessage(server, who, message.box.id, message.id)
        expect(answer, this.statusOfDeletion(who, message))
        if (answer.status !== 201) return
        message.there = false
        message.box.used = (message.box.used ?? 0) - message.size
        return
      }
      case 'save': {
        const file = pick(this.files, which)
        if (!file) return
        const answer = await save(server, who, file.id)
        const refused = this.hasSaved(who, file) ? 409 : 201
        expect(answer, this.isInBoxOf(who, file) ? refused : 403)
        if (answer.status === 201) this.keep(answer, who, file)
        return
      }
      case 'saveUpload': {
        const file = { id: '', bytes: pattern(size, which) }
        const answer = await saveUpload(server, who, file.bytes)
        expect(answer, 201)
        file.id = (answer.body as SavedFileJson).encrypted_file_id
        this.files.push(file)
        this.keep(answer, who, file)
        return
      }
      case 'unsave': {
        const saved = pick(this.saved, which)
        if (!saved) return
        const answer = await unsave(server, who, saved.id)
        const allowed = saved.owner === who ? 204 : 403
        expect(answer, saved.there ? allowed : 404)
        if (answer.status === 204) saved.there = false
        return
      }
      case 'join': {
        const answer = await post(server, who, box.id, { type: 'member.join' })
        expect(answer, box.there ? (box.members.has(who) ? 409 : 201) : 403)
        if (answer.status === 201) box.members.add(who)
        return
      }
      case 'leave': {
        const answer = await post(server, who, box.id, { type: 'member.leave' })
        expect(answer, box.members.has(who) && box.creator !== who ? 201 : 403)
        if (answer.status === 201) box.members.delete(who)
        return
      }
      case 'deleteBox': {
        // Rarely, or there would be nothing to save.
        if (which % 3 > 0) return
        const answer = await deleteBox(server, who, box.id)
        expect(answer, box.there && box.creator === who ? 204 : 403)
        if (answer.status !== 204) return
        box.there = false
        box.members.clear()
        for (const message of this.messages) if (message.box === box) message.there = false
      }
    }
  }

  statusOfEdit(who: SignedIn, { box, author, file, there }: ModelMessage): number {
    if (!box.members.has(who)) return 403
    if (!there) return 410
    return author === who && !file ? 201 : 403
  }

  statusOfDeletion(who: SignedIn, { box, author, there }: ModelMessage): number {
    if (!box.members.has(who)) return 403
    if (!there) return 410
    return author === who || box.creator === who ? 201 : 403
  }

  write(
    id: string,
    box: ModelBox,
    author: SignedIn,
    size: number,
    file: ModelFile | undefined,
  ): void {
    this.messages.push({ id, box, author, size, file, there: true })
    box.used = (box.used ?? 0) + size
  }

  keep(answer: Answer, owner: SignedIn, file: ModelFile): void {
    const { id } = answer.body as SavedFileJson
    this.saved.push({ id, owner, file, there: true })
  }

  /** Bytes are there for exactly the files that a message or a saved file links to. */
  async checkBytes(): Promise<void> {
    const linked = this.files.filter((file) => this.isLinked(file))
    assert.deepEqual(
      new Set(await filesWithBytes(this.server)),
      new Set([...this.earlier, ...linked.map(({ id }) => id)]),
    )
  }

  async checkSavedFiles(): Promise<void> {
    for (const who of this.people) {
      const saved = this.savedBy(who)
      assert.deepEqual(
        (await listSaved(this.server, who)).map((file) => [file.id, file.encrypted_file_id]),
        saved.map(({ id, file }) => [id, file.id]),
      )
      const count = await call(this.server, 'HEAD', '/saved-files', { as: who })
      assert.equal(count.headers.get('x-total-count'), String(saved.length))
    }
  }

  async checkUsedSpaces(): Promise<void> {
    for (const who of this.people) {
      const vault = `/box-users/${who.id}/vault-used-space`
      const value = this.savedBy(who).reduce((sum, { file }) => sum + file.bytes.length, 0)
      assert.deepEqual((await call(this.server, 'GET', vault, { as: who })).body, { value })
      const boxes = await call(this.server, 'GET', `/box-used-spaces?identity_id=${who.id}`, {
        as: who,
      })
      assert.deepEqual(
        boxes.body,
        this.boxes
          .filter(({ creator, there, used }) => creator === who && there && used !== undefined)
          .map(({ id, used }) => ({ box_id: id, value: used })),
      )
    }
  }

  /** Messages as each person sees them, with what she has saved of them. */
  async checkBoxes(): Promise<void> {
    for (const box of this.boxes) {
      const messages = this.messages.filter((message) => message.box === box).reverse()
      const files = messages.filter(({ file, there }) => file && there)
      for (const who of this.people) {
        const list = await call(this.server, 'GET', `/boxes/${box.id}/events`, { as: who })
        expect(list, box.members.has(who) ? 200 : 403)
        if (list.status !== 200) continue
        const seen = (list.body as EventJson[]).filter(({ type }) => type.startsWith('msg.'))
        assert.deepEqual(
          seen.map(({ id, content }) => [id, content?.is_saved, content?.deleted === undefined]),
          messages.map(({ id, file, there }) => [
            id,
            file && there ? this.hasSaved(who, file) : undefined,
            there,
          ]),
        )
        const listed = await call(this.server, 'GET', `/boxes/${box.id}/files`, { as: who })
        assert.deepEqual(
          (listed.body as EventJson[]).map(({ id }) => id),
          files.map(({ id }) => id),
        )
        const count = await call(this.server, 'HEAD', `/boxes/${box.id}/files`, { as: who })
        assert.equal(count.headers.get('x-total-count'), String(files.length))
      }
    }
  }

  async checkDownloads(): Promise<void> {
    for (const file of this.files) {
      for (const who of this.people) {
        const allowed = this.hasSaved(who, file) || this.isInBoxOf(who, file)
        const answer = await download(this.server, who, file.id)
        expect(answer, this.isLinked(file) ? (allowed ? 200 : 403) : 404)
        if (allowed) assert.ok(answer.bytes.equals(file.bytes), 'the same bytes')
      }
    }
  }

  /** Everybody gives up everything: nothing is left then. */
  async clear(): Promise<void> {
    for (const box of this.boxes) {
      if (box.there) expect(await deleteBox(this.server, box.creator, box.id), 204)
    }
    for (const { owner, id, there } of this.saved) {
      if (there) expect(await unsave(this.server, owner, id), 204)
    }
    assert.deepEqual(await filesWithBytes(this.server), this.earlier)
  }
}

interface EventJson {
  id: string
  type: string
  content: { encrypted_file_id?: string; is_saved?: boolean; deleted?: unknown } | null
}

function expect(answer: Answer, status: number): void {
  assert.equal(answer.status, status, `${answer.bytes.subarray(0, 500)}`)
}

function pick<T>(all: readonly T[], which: number): T | undefined {
  return all[which % Math.max(1, all.length)]
}

function of<T>(all: readonly T[], which: number): T {
  const one = pick(all, which)
  assert.ok(one)
  return one
}

test('whatever three people do with the files of two boxes, the rules hold', async (t) => {
  const server = await startTestServer(t)
  let run = 0

  async function begin(): Promise<Model> {
    run += 1
    const people: SignedIn[] = []
    for (const name of NAMES) people.push(await signIn(server, `${name} ${run}`))
    const [ann, bob, cid] = people as [SignedIn, SignedIn, SignedIn]
    const boxes: ModelBox[] = []
    for (const [creator, member] of [
      [ann, bob],
      [bob, cid],
    ] as const) {
      const id = await createOpenBox(server, creator, member)
      const members = new Set([creator, member])
      boxes.push({ id, creator, members, there: true, used: undefined })
    }
    return new Model(server, people, boxes, await filesWithBytes(server))
  }

  const steps = fc.array(step, { minLength: 5, maxLength: 40, size: 'max' })
  await fc.assert(
    fc.asyncProperty(steps, async (taken) => {
      const model = await begin()
      for (const one of taken) {
        await model.take(one)
        await model.checkBytes()
      }
      await model.checkSavedFiles()
      await model.checkUsedSpaces()
      await model.checkBoxes()
      await model.checkDownloads()
      await model.clear()
    }),
    { numRuns: SLOW ? 400 : 12 },
  )
})
