/**
 * Proves that the real Resumable.js, unchanged and in a real browser, uploads a file in chunks, five at
 * once; and that after its page was loaded anew half way it sends only what is missing.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Browser, chromium, type Page } from 'playwright-core'
import { assertSameBytes, pattern } from '../packages/server/test/helpers/bytes.ts'
import { testFolder } from '../packages/server/test/helpers/cleanup.ts'
import {
  address,
  announce,
  type CompanyPlace,
  downloaded,
  startCompanyPlace,
  stateOf,
} from './company-place.ts'

const CHROMIUM = '/usr/bin/chromium'
const RESUMABLE = createRequire(import.meta.url).resolve('resumablejs')
const CHUNK = 5_000_000
/** The last chunk takes what is left: more than a chunk. */
const SIZE = 62_345_678
const CHUNKS = 12

/** Resumable.js as far as the page uses it. */
interface Resumable {
  addFile(file: unknown): void
  upload(): void
  on(event: string, work: (...words: string[]) => void): void
}

test('Resumable.js uploads 60 MB in chunks of 5 MB, five at once', async (t) => {
  const scene = await openScene(t)
  if (!scene) return
  const { place, page, bytes, path } = scene
  const fileId = await announce(place, SIZE)
  const sent = countPosts(page)
  await choose(page, path)
  await upload(page, address(place, fileId))
  await finished(page)
  assert.equal(sent(), CHUNKS)
  assertSameBytes(await downloaded(place, fileId), bytes)
})

test('loaded anew half way, it resumes and sends only what is missing', async (t) => {
  const scene = await openScene(t)
  if (!scene) return
  const { place, page, bytes, path } = scene
  const fileId = await announce(place, SIZE)
  await choose(page, path)
  await upload(page, address(place, fileId))
  await page.waitForFunction(() => Reflect.get(globalThis, 'chunksDone') >= 5)
  await page.reload()
  const before = (await settledState(place, fileId)).chunks.length
  assert.ok(before >= 5 && before < CHUNKS, `${before} chunks before`)

  const sent = countPosts(page)
  await choose(page, path)
  await upload(page, address(place, fileId))
  await finished(page)
  t.diagnostic(`${before} of ${CHUNKS} chunks were there, ${sent()} were sent`)
  assert.equal(sent(), CHUNKS - before)
  assert.equal((await stateOf(place, fileId)).complete, true)
  assertSameBytes(await downloaded(place, fileId), bytes)
})

interface Scene {
  readonly place: CompanyPlace
  readonly page: Page
  readonly bytes: Buffer
  /** Of the file with these bytes. */
  readonly path: string
}

async function openScene(t: TestContext): Promise<Scene | undefined> {
  const browser = await openBrowser(t)
  if (!browser) return undefined
  const place = await startCompanyPlace(t)
  const path = join(await testFolder(t), 'film.mkv')
  const bytes = pattern(SIZE)
  await writeFile(path, bytes)
  const page = await browser.newPage({ extraHTTPHeaders: place.headers })
  await page.goto(`${place.server.address}/health/live`)
  return { place, page, bytes, path }
}

/** Without Chromium the test is skipped and says so; on CI that is a failure. */
async function openBrowser(t: TestContext): Promise<Browser | undefined> {
  if (!existsSync(CHROMIUM)) {
    if (process.env.CI === 'true') throw new Error('Chromium is not installed')
    t.skip('Chromium is not installed')
    return undefined
  }
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
  t.after(() => browser.close())
  return browser
}

/** As somebody does who is asked for the file, again after a reload. */
async function choose(page: Page, path: string): Promise<void> {
  await page.addScriptTag({ path: RESUMABLE })
  await page.evaluate(() => {
    const { document } = globalThis as unknown as { document: { body: { innerHTML: string } } }
    document.body.innerHTML = '<input type="file">'
  })
  await page.setInputFiles('input', path)
}

/** Begins; `chunksDone` and `outcome` tell how it goes. */
async function upload(page: Page, target: string): Promise<void> {
  await page.evaluate(
    ([target, chunkSize]) => {
      const page = globalThis as unknown as {
        Resumable: new (options: object) => Resumable
        document: { querySelector(selector: string): { files: unknown[] } }
        chunksDone: number
        outcome?: string
      }
      const { files } = page.document.querySelector('input')
      const resumable = new page.Resumable({
        target,
        chunkSize,
        simultaneousUploads: 5,
        query: { thumbnail_sync: 1 },
      })
      page.chunksDone = 0
      const progress = Reflect.get(resumable, 'progress').bind(resumable)
      resumable.on('fileProgress', () => {
        page.chunksDone = Math.round(progress() * 12)
      })
      resumable.on('fileAdded', () => resumable.upload())
      resumable.on('complete', () => {
        page.outcome ??= 'complete'
      })
      resumable.on('error', (message) => {
        page.outcome = message
      })
      resumable.addFile(files[0])
    },
    [target, CHUNK] as const,
  )
}

async function finished(page: Page): Promise<void> {
  await page.waitForFunction(() => Reflect.get(globalThis, 'outcome') !== undefined)
  assert.equal(await page.evaluate(() => Reflect.get(globalThis, 'outcome')), 'complete')
}

function countPosts(page: Page): () => number {
  let posts = 0
  page.on('request', (request) => {
    if (request.method() === 'POST') posts += 1
  })
  return () => posts
}

/** What is there once nothing of the page that is gone is still on its way. */
async function settledState(place: CompanyPlace, fileId: string) {
  for (;;) {
    const before = await stateOf(place, fileId)
    await new Promise((resolve) => setTimeout(resolve, 500))
    const after = await stateOf(place, fileId)
    if (before.chunks.length === after.chunks.length) return after
  }
}
