/**
 * How long after the answer to an upload the preview of a 12-megapixel JPEG is there, and what a hundred
 * such uploads at once do to a request for metadata.
 *
 * A server is started on a fresh folder, warmed up with a few pictures, and asked over HTTP. The p99 is
 * given as a ratio to that of the same request in the same run with nothing else going on. `--json`
 * prints the figures for programs; `--pictures=20` takes another number for a hundred.
 */
import { availableParallelism, loadavg } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import sharp from 'sharp'
import { address, type CompanyPlace, startCompanyPlace } from '../e2e/company-place.ts'
import { fileForm, type Resource } from '../packages/server/test/helpers/companies.ts'
import { inScope } from './scope.ts'

const WARM_UP = 5
const SINGLE = 30
const IDLE_REQUESTS = 2000
const MOST_MS = 150
const MOST_RATIO = 5
const POLL_MS = 2
const PAUSE_MS = 5

/** A JPEG of 4000 × 3000 pixels and about 3.5 MB, like a camera's. */
async function photo(): Promise<Buffer> {
  const noise = { type: 'gaussian', mean: 128, sigma: 30 } as const
  const grain = { width: 1000, height: 750, channels: 3, background: '#336699', noise } as const
  return sharp({ create: grain }).resize(4000, 3000).jpeg({ quality: 90 }).toBuffer()
}

async function upload(place: CompanyPlace, picture: Buffer): Promise<string> {
  const answer = await fetch(address(place, undefined, '?filename=photo.jpg'), {
    ...{ method: 'POST', headers: place.headers, body: fileForm(picture) },
  })
  const { resource } = (await answer.json()) as { resource: Resource }
  return resource.id
}

async function statusOf(place: CompanyPlace, fileId: string): Promise<string | undefined> {
  const answer = await fetch(address(place, fileId), { headers: place.headers })
  const { resource } = (await answer.json()) as { resource: Resource }
  return resource.metadata?.thumbnails_status
}

/** Milliseconds from the answer to the upload until the metadata have the preview. */
async function untilShown(place: CompanyPlace, picture: Buffer): Promise<number> {
  const fileId = await upload(place, picture)
  const began = performance.now()
  while ((await statusOf(place, fileId)) === 'waiting') await delay(POLL_MS)
  return performance.now() - began
}

/** Milliseconds that requests for metadata take, one after the other, until `isOver`. */
async function requests(
  place: CompanyPlace,
  fileId: string,
  isOver: (count: number) => boolean,
): Promise<number[]> {
  const times: number[] = []
  while (!isOver(times.length)) {
    const began = performance.now()
    await statusOf(place, fileId)
    times.push(performance.now() - began)
    await delay(PAUSE_MS)
  }
  return times
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) * part)] ?? Number.NaN
}

function option(name: string, fallback: number): number {
  const prefix = `--${name}=`
  const given = process.argv.find((argument) => argument.startsWith(prefix))
  return given === undefined ? fallback : Number(given.slice(prefix.length))
}

async function measure(place: CompanyPlace) {
  const picture = await photo()
  for (let count = 0; count < WARM_UP; count += 1) await untilShown(place, picture)
  const single: number[] = []
  for (let count = 0; count < SINGLE; count += 1) single.push(await untilShown(place, picture))

  const other = await upload(place, picture)
  const idle = await requests(place, other, (count) => count >= IDLE_REQUESTS)
  const pictures = option('pictures', 100)
  let over = false
  const began = performance.now()
  const all = Promise.all(Array.from({ length: pictures }, () => untilShown(place, picture)))
  const ended = all.then(() => {
    over = true
  })
  const busy = await requests(place, other, () => over)
  await ended
  const seconds = (performance.now() - began) / 1000
  return {
    shownMs: { p50: quantile(single, 0.5), p95: quantile(single, 0.95) },
    idleMs: { p50: quantile(idle, 0.5), p99: quantile(idle, 0.99) },
    busyMs: { p50: quantile(busy, 0.5), p99: quantile(busy, 0.99) },
    ratio: quantile(busy, 0.99) / quantile(idle, 0.99),
    pictures,
    seconds,
  }
}

async function main(): Promise<void> {
  await inScope(async (scope) => {
    const place = await startCompanyPlace(scope, { HOLDFAST_LOG_LEVEL: 'warn' })
    const before = loadavg()[0] ?? 0
    const figures = await measure(place)
    await place.server.stop()
    if (process.argv.includes('--json')) {
      console.log(JSON.stringify({ node: process.version, load: before, ...figures }))
      return
    }
    const { shownMs, idleMs, busyMs, ratio, pictures, seconds } = figures
    const ms = (value: number) => `${value.toFixed(1)} ms`
    const verdict = (isReached: boolean) => (isReached ? 'reached' : 'NOT REACHED')
    console.log(
      `Node ${process.version}, ${availableParallelism()} CPUs, load ${before.toFixed(2)}`,
    )
    console.log(
      `preview after the answer: p50 ${ms(shownMs.p50)}, p95 ${ms(shownMs.p95)}: ${verdict(shownMs.p50 <= MOST_MS)}`,
    )
    console.log(`metadata, idle: p50 ${ms(idleMs.p50)}, p99 ${ms(idleMs.p99)}`)
    console.log(`${pictures} pictures at once, all shown after ${seconds.toFixed(1)} s`)
    console.log(
      `metadata meanwhile: p50 ${ms(busyMs.p50)}, p99 ${ms(busyMs.p99)}, ${ratio.toFixed(1)} × idle: ${verdict(ratio < MOST_RATIO)}`,
    )
  })
}

await main()
