/**
 * What sealing and opening cost, against the bare cipher over the same chunks.
 *
 * All cases of a table run in turn, round after round, so that whatever else the machine does hits them
 * alike; only the ratios within one run mean something. `--json` prints the figures for programs.
 */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  randomBytes,
} from 'node:crypto'
import { availableParallelism, loadavg } from 'node:os'
import {
  CHUNK_SIZE,
  createOpener,
  createSealer,
  generateIdentity,
  headerSize,
  open,
  openChunk,
  openHeader,
  type PayloadKey,
  parseIdentity,
  SEALED_CHUNK_SIZE,
  seal,
  sealHeader,
} from '../src/index.ts'

const MIB = 2 ** 20
const TOTAL = 256 * MIB
/**
 * Bytes that each case works on, again and again until it has done `TOTAL`. They stay in the CPU's
 * cache, as bytes from a socket or a page just read do; so a needless copy stands out, and what is
 * measured is not how fast the memory is.
 */
const WARM = 4 * MIB
const BULK_ROUNDS = 9
const SMALL_ROUNDS = 15
const SMALL_CALLS = 200
/** Rounds that are run and forgotten, until the code is compiled. */
const WARM_UP = 2

const REACH_RATIO = 0.9
const REACH_SEAL_1K_X25519_US = 120

interface Stat {
  readonly median: number
  readonly low: number
  readonly high: number
}
interface Bulk extends Stat {
  readonly name: string
  /** Median of the bare cipher's time over this one's, round by round. */
  readonly ratio: number
}
interface Small extends Stat {
  readonly name: string
}

const identities = { x25519: generateIdentity('x25519'), hybrid: generateIdentity('hybrid') }
const recipients = [identities.x25519.recipient]

/** Gives the memory back at once instead of waiting for a collection. */
function free(bytes: Uint8Array<ArrayBuffer>): void {
  bytes.buffer.transfer(0)
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function stat(values: readonly number[]): Stat {
  return { median: median(values), low: Math.min(...values), high: Math.max(...values) }
}

/** Times every case once per round, in turn. Seconds by case. */
function rounds(cases: readonly { run: () => void }[], count: number): number[][] {
  const seconds: number[][] = cases.map(() => [])
  for (let round = -WARM_UP; round < count; round++) {
    for (const [index, { run }] of cases.entries()) {
      const began = performance.now()
      run()
      if (round >= 0) seconds[index]?.push((performance.now() - began) / 1000)
    }
  }
  return seconds
}

/** Hands over `TOTAL` bytes of `memory`, again and again, in pieces of `size`. */
function feed(memory: Uint8Array, size: number, take: (piece: Uint8Array) => void): void {
  for (let done = 0, at = 0; done < TOTAL; done += size, at += size) {
    if (at + size > memory.length) at = 0
    take(memory.subarray(at, at + size))
  }
}

const KEY = createSecretKey(randomBytes(32))
const CIPHER = 'chacha20-poly1305'

function bareSeal(plain: Uint8Array): void {
  const nonce = new Uint8Array(12)
  feed(plain, CHUNK_SIZE, (chunk) => {
    const cipher = createCipheriv(CIPHER, KEY, nonce, { authTagLength: 16 })
    const sealed = cipher.update(chunk)
    cipher.final()
    free(cipher.getAuthTag())
    free(sealed)
  })
}

function sealedWithBareCipher(): Uint8Array {
  const cipher = createCipheriv(CIPHER, KEY, new Uint8Array(12), { authTagLength: 16 })
  return Buffer.concat([
    cipher.update(new Uint8Array(CHUNK_SIZE)),
    cipher.final(),
    cipher.getAuthTag(),
  ])
}

function bareOpen(sealed: Uint8Array): void {
  const nonce = new Uint8Array(12)
  again(() => {
    for (let at = 0; at < sealed.length; at += SEALED_CHUNK_SIZE) {
      const decipher = createDecipheriv(CIPHER, KEY, nonce, { authTagLength: 16 })
      decipher.setAuthTag(sealed.subarray(at + CHUNK_SIZE, at + SEALED_CHUNK_SIZE))
      const plain = decipher.update(sealed.subarray(at, at + CHUNK_SIZE))
      decipher.final()
      free(plain as Uint8Array<ArrayBuffer>)
    }
  })
}

function sealStream(plain: Uint8Array, size: number): void {
  const sealer = createSealer(recipients)
  feed(plain, size, (piece) => {
    for (const part of sealer.update(piece)) free(part)
  })
  for (const part of sealer.end()) free(part)
}

function openStream(key: PayloadKey, payload: Uint8Array, size: number, plainBytes?: number): void {
  again(() => {
    const opener = createOpener(key, plainBytes)
    for (let at = 0; at < payload.length; at += size) {
      for (const part of opener.update(payload.subarray(at, at + size))) free(part)
    }
    for (const part of opener.end()) free(part)
  })
}

/** As a range reader or a download does: whole sealed chunks, one by one. */
function openChunks(key: PayloadKey, payload: Uint8Array): void {
  const last = Math.ceil(payload.length / SEALED_CHUNK_SIZE) - 1
  again(() => {
    for (let index = 0; index <= last; index++) {
      const at = index * SEALED_CHUNK_SIZE
      free(openChunk(key, index, index === last, payload.subarray(at, at + SEALED_CHUNK_SIZE)))
    }
  })
}

/** Does what `WARM` bytes take as often as makes `TOTAL` bytes. */
function again(work: () => void): void {
  for (let done = 0; done < TOTAL; done += WARM) work()
}

function bulk(): { sealing: Bulk[]; opening: Bulk[] } {
  const plain = new Uint8Array(WARM).fill(7)
  const sealing = compare([
    { name: 'bare cipher', run: () => bareSeal(plain) },
    { name: 'sealer, 1 MiB inputs', run: () => sealStream(plain, MIB) },
    { name: 'sealer, 64 KiB inputs', run: () => sealStream(plain, CHUNK_SIZE) },
    { name: 'sealer, 64,000 B inputs', run: () => sealStream(plain, 64_000) },
  ])
  const file = seal(recipients, plain)
  const key = openHeader(file, [identities.x25519]).payloadKey
  const payload = file.subarray(headerSize(recipients))
  const bare = repeated(sealedWithBareCipher(), WARM / CHUNK_SIZE)
  const whole = 16 * SEALED_CHUNK_SIZE
  const opening = compare([
    { name: 'bare cipher', run: () => bareOpen(bare) },
    { name: 'openChunk', run: () => openChunks(key, payload) },
    { name: 'opener, 1 MiB inputs', run: () => openStream(key, payload, MIB, WARM) },
    { name: 'opener, 16-chunk inputs', run: () => openStream(key, payload, whole, WARM) },
    { name: 'opener, 64 KiB inputs', run: () => openStream(key, payload, CHUNK_SIZE, WARM) },
    { name: 'opener, size unknown', run: () => openStream(key, payload, MIB) },
  ])
  return { sealing, opening }
}

function repeated(chunk: Uint8Array, count: number): Uint8Array {
  const whole = new Uint8Array(chunk.length * count)
  for (let at = 0; at < whole.length; at += chunk.length) whole.set(chunk, at)
  return whole
}

/** MB/s of each case, and its ratio to the first. */
function compare(cases: readonly { name: string; run: () => void }[]): Bulk[] {
  const seconds = rounds(cases, BULK_ROUNDS)
  const bare = seconds[0] ?? []
  return cases.map(({ name }, index) => {
    const own = seconds[index] ?? []
    const ratio = median(own.map((value, round) => (bare[round] ?? Number.NaN) / value))
    return { name, ratio, ...stat(own.map((value) => TOTAL / 1e6 / value)) }
  })
}

/** Microseconds of a call. */
function small(): Small[] {
  const kib = new Uint8Array(1024).fill(7)
  const cases: { name: string; run: () => void }[] = []
  const add = (name: string, call: () => void) =>
    cases.push({
      name,
      run: () => {
        for (let count = 0; count < SMALL_CALLS; count++) call()
      },
    })
  // The floor of every X25519 seal, to tell a slow machine from slow code.
  const { publicKey } = generateKeyPairSync('x25519')
  add('bare X25519: new key, agree', () => {
    diffieHellman({ privateKey: generateKeyPairSync('x25519').privateKey, publicKey })
  })
  for (const kind of ['x25519', 'hybrid'] as const) {
    const identity = identities[kind]
    const to = [identity.recipient]
    const file = seal(to, kib)
    const text = String(identity)
    add(`${kind}: seal 1 KiB`, () => seal(to, kib))
    add(`${kind}: open 1 KiB`, () => open([identity], file))
    add(`${kind}: seal header`, () => sealHeader(to))
    add(`${kind}: open header`, () => openHeader(file, [identity]))
    add(`${kind}: parse identity`, () => parseIdentity(text))
  }
  return rounds(cases, SMALL_ROUNDS).map((values, index) => ({
    name: cases[index]?.name ?? '',
    ...stat(values.map((value) => (value / SMALL_CALLS) * 1e6)),
  }))
}

function machine() {
  // biome-ignore lint/style/noProcessEnv: the figures depend on how the allocator was set up
  const { MALLOC_TRIM_THRESHOLD_: trim, MALLOC_MMAP_THRESHOLD_: mmap } = process.env
  return {
    node: process.version,
    openssl: process.versions.openssl,
    cpus: availableParallelism(),
    load: loadavg().map((value) => Number(value.toFixed(2))),
    malloc: trim && mmap ? `trim ${trim}, mmap ${mmap}` : 'default',
  }
}

function reached({ sealing, opening }: ReturnType<typeof bulk>, calls: readonly Small[]) {
  const ratio = (table: readonly Bulk[], name: string) =>
    table.find((row) => row.name === name)?.ratio ?? 0
  const seal1k = calls.find(({ name }) => name === 'x25519: seal 1 KiB')?.median ?? Number.NaN
  return {
    seal1MiB: ratio(sealing, 'sealer, 1 MiB inputs') >= REACH_RATIO,
    seal64KiB: ratio(sealing, 'sealer, 64 KiB inputs') >= REACH_RATIO,
    openChunk: ratio(opening, 'openChunk') >= REACH_RATIO,
    open1MiB: ratio(opening, 'opener, 1 MiB inputs') >= REACH_RATIO,
    open64KiB: ratio(opening, 'opener, 64 KiB inputs') >= REACH_RATIO,
    seal1KiB: seal1k <= REACH_SEAL_1K_X25519_US,
  }
}

function printBulk(title: string, rows: readonly Bulk[]): void {
  console.log(`\n${title.padEnd(28)} ratio    MB/s   spread`)
  for (const { name, ratio, median: mid, low, high } of rows) {
    const figures = `${ratio.toFixed(3)} ${mid.toFixed(0).padStart(7)}`
    console.log(`${name.padEnd(28)} ${figures}   ${low.toFixed(0)}–${high.toFixed(0)}`)
  }
}

function main(): void {
  const before = machine()
  const bulkFigures = bulk()
  const calls = small()
  const reach = reached(bulkFigures, calls)
  const after = machine().load
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify({ ...before, loadAfter: after, ...bulkFigures, calls, reach }))
    return
  }
  console.log(`Node ${before.node}, OpenSSL ${before.openssl}, ${before.cpus} CPUs`)
  console.log(
    `load ${before.load.join(' ')} before, ${after.join(' ')} after; malloc ${before.malloc}`,
  )
  printBulk(`sealing ${TOTAL / MIB} MiB`, bulkFigures.sealing)
  printBulk(`opening ${TOTAL / MIB} MiB`, bulkFigures.opening)
  console.log(`\n${'one call'.padEnd(28)}      µs   spread`)
  for (const { name, median: mid, low, high } of calls) {
    console.log(
      `${name.padEnd(28)} ${mid.toFixed(1).padStart(7)}   ${low.toFixed(1)}–${high.toFixed(1)}`,
    )
  }
  console.log('\nreached:')
  for (const [name, ok] of Object.entries(reach)) console.log(`  ${name}: ${ok ? 'yes' : 'NO'}`)
}

main()
