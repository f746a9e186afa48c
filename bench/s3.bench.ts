/**
 * Files of 64 MiB into a bucket and out of it, as a ratio to the AWS SDK alone: what a program of a
 * few lines reaches with the same store in the same run. Starts a Ceph of its own.
 *
 * `npm run bench:s3`, with `--json` for programs, `--rounds=…` for more of them.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { generateIdentity } from '@holdfast/seal'
import { CREDENTIALS, createCephClient, REGION } from '../engines/ceph-client.ts'
import { createPart, readPart } from '../packages/server/src/core/blobs/parts.ts'
import type { BlobStore } from '../packages/server/src/core/blobs/store.ts'
import { createKeyring, openKeyring } from '../packages/server/src/core/keys/keyring.ts'
import { free } from '../packages/server/src/core/memory.ts'
import { openS3Store } from '../packages/server/src/store/blobs/s3/store.ts'

const MIB = 1024 * 1024
const SIZE = 64 * MIB
const PIECE = 64 * 1024
const PART = 5 * MIB
const REACH = 0.8
const BUCKET = 'holdfast-bench'
const SCRIPTS = fileURLToPath(new URL('../scripts/engines/', import.meta.url))

/** A way of moving a file; answers when the last byte is there. */
interface Way {
  readonly name: string
  readonly isOurs: boolean
  up(name: string): Promise<void>
  down(name: string): Promise<void>
}

/** Content in the pieces in which a request brings it. */
function* pieces(): Generator<Uint8Array> {
  for (let at = 0; at < SIZE; at += PIECE) yield CONTENT.subarray(at, at + PIECE)
}

const CONTENT = randomBytes(SIZE)

async function sdkPut(client: S3Client): Promise<Way> {
  return {
    name: 'SDK, one request',
    isOurs: false,
    async up(name) {
      await client.send(
        new PutObjectCommand({ Bucket: BUCKET, Key: name, Body: CONTENT, ContentLength: SIZE }),
      )
    },
    down: (name) => sdkGet(client, name),
  }
}

async function sdkParts(client: S3Client): Promise<Way> {
  return {
    name: 'SDK, parts, two at once',
    isOurs: false,
    async up(Key) {
      const { UploadId } = await client.send(
        new CreateMultipartUploadCommand({ Bucket: BUCKET, Key }),
      )
      const Parts: { PartNumber: number; ETag: string | undefined }[] = []
      const numbers = Array.from({ length: Math.ceil(SIZE / PART) }, (_, at) => at + 1).values()
      async function worker(): Promise<void> {
        for (const PartNumber of numbers) {
          const Body = CONTENT.subarray((PartNumber - 1) * PART, PartNumber * PART)
          const { ETag } = await client.send(
            new UploadPartCommand({ Bucket: BUCKET, Key, UploadId, PartNumber, Body }),
          )
          Parts.push({ PartNumber, ETag })
        }
      }
      await Promise.all([worker(), worker()])
      Parts.sort((one, other) => one.PartNumber - other.PartNumber)
      await client.send(
        new CompleteMultipartUploadCommand({
          Bucket: BUCKET,
          Key,
          UploadId,
          MultipartUpload: { Parts },
        }),
      )
    },
    down: (name) => sdkGet(client, name),
  }
}

async function sdkGet(client: S3Client, Key: string): Promise<void> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key }))
  let size = 0
  for await (const bytes of Body as AsyncIterable<Uint8Array>) size += bytes.byteLength
  if (size !== SIZE) throw new Error(`${size} bytes came`)
}

async function sealed(store: BlobStore): Promise<Way> {
  const root = generateIdentity('x25519')
  await createKeyring(store, root)
  const keyring = await openKeyring(store, root)
  const parts = new Map<
    string,
    Awaited<ReturnType<Awaited<ReturnType<typeof createPart>>['commit']>>
  >()
  return {
    name: 'Holdfast',
    isOurs: true,
    async up(name) {
      const part = await createPart(store, keyring, name)
      for (const piece of pieces()) await part.write(piece)
      parts.set(name, await part.commit())
    },
    async down(name) {
      const part = parts.get(name)
      if (!part) throw new Error(`${name} was not uploaded`)
      let size = 0
      for await (const bytes of readPart(store, keyring, part, 0, SIZE)) {
        size += bytes.byteLength
        free(bytes)
      }
      if (size !== SIZE) throw new Error(`${size} bytes came`)
    },
  }
}

interface Figures {
  readonly name: string
  readonly isOurs: boolean
  /** MiB a second, medians. */
  readonly up: number
  readonly down: number
}

async function measure(ways: readonly Way[], rounds: number): Promise<Figures[]> {
  const times = new Map(ways.map((way) => [way, { up: [] as number[], down: [] as number[] }]))
  for (let round = -1; round < rounds; round += 1) {
    for (const way of ways) {
      const name = `blobs/${randomUUID()}.1`
      const up = await timed(() => way.up(name))
      const down = await timed(() => way.down(name))
      if (round < 0) continue
      times.get(way)?.up.push(up)
      times.get(way)?.down.push(down)
    }
  }
  return ways.map((way) => {
    const { up, down } = times.get(way) ?? { up: [], down: [] }
    return { name: way.name, isOurs: way.isOurs, up: rate(up), down: rate(down) }
  })
}

async function timed(work: () => Promise<void>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

function rate(milliseconds: readonly number[]): number {
  const sorted = milliseconds.toSorted((one, other) => one - other)
  const median = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
  return SIZE / MIB / (median / 1000)
}

function option(name: string, fallback: number): number {
  const prefix = `--${name}=`
  const given = process.argv.find((argument) => argument.startsWith(prefix))
  return given === undefined ? fallback : Number(given.slice(prefix.length))
}

/** To the quickest way of the SDK alone. */
function ratioOf(figures: readonly Figures[], way: 'up' | 'down'): number {
  const best = (isOurs: boolean) =>
    Math.max(...figures.filter((one) => one.isOurs === isOurs).map((one) => one[way]))
  return best(true) / best(false)
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-'))
  const ceph = join(folder, 'ceph')
  try {
    const load = loadavg()
    const port = String(10_000 + (process.pid % 100) * 200)
    const endpoint = execFileSync(join(SCRIPTS, 'ceph-start'), [ceph, port]).toString().trim()
    const client = createCephClient(endpoint)
    await client.send(new CreateBucketCommand({ Bucket: BUCKET }))
    const store = await openS3Store({
      bucket: BUCKET,
      prefix: 'holdfast/',
      endpoint,
      region: REGION,
      credentials: CREDENTIALS,
    })
    const ways = [await sdkPut(client), await sdkParts(client), await sealed(store)]
    const results = await measure(ways, option('rounds', 9))
    await store.close()
    client.destroy()
    const ratios = { up: ratioOf(results, 'up'), down: ratioOf(results, 'down') }
    if (process.argv.includes('--json')) {
      console.log(JSON.stringify({ node: process.version, load, results, ratios }))
      return
    }
    console.log(
      `Node ${process.version}, ${availableParallelism()} CPUs, load ${load[0]?.toFixed(2)}`,
    )
    for (const { name, up, down } of results) {
      console.log(
        `${name.padEnd(26)}${up.toFixed(0).padStart(6)} up${down.toFixed(0).padStart(7)} down, MiB/s`,
      )
    }
    for (const way of ['up', 'down'] as const) {
      const verdict = ratios[way] >= REACH ? 'reached' : 'NOT REACHED'
      console.log(`ratio ${way}: ${ratios[way].toFixed(2)}, ${verdict}`)
    }
  } finally {
    execFileSync(join(SCRIPTS, 'ceph-stop'), [ceph])
    await rm(folder, { recursive: true, force: true })
  }
}

await main()
