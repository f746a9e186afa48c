import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { CreateBucketCommand, type S3Client } from '@aws-sdk/client-s3'
import type { S3Place } from '../packages/server/src/store/blobs/s3/place.ts'
import { CREDENTIALS, createCephClient, REGION } from './ceph-client.ts'
import { missingForCeph, reasonToSkip } from './packages.ts'
import { freePorts } from './ports.ts'
import { SCRIPTS } from './scripts.ts'

/** A Ceph that runs for one file of tests. */
export interface Ceph {
  readonly endpoint: string
  /** Its folder, for `ceph` and `radosgw-admin`. */
  readonly folder: string
  readonly bucket: string
  /** For what a store of ours does not do. */
  readonly client: S3Client
  /** A part of the bucket that nobody else uses. */
  place(endpoint?: string): S3Place
  /** The same as settings of a server. */
  settings(place: S3Place): Record<string, string>
}

/**
 * Starts a Ceph and a bucket in it; both go after the file's tests.
 *
 * @returns why that cannot be, where the programs are not installed; on CI that is a failure
 */
export async function startCeph(): Promise<Ceph | string> {
  const reason = reasonToSkip(missingForCeph())
  if (reason) return reason
  const parent = mkdtempSync(join(tmpdir(), 'holdfast-ceph-'))
  const folder = join(parent, 'ceph')
  after(() => {
    execFileSync(join(SCRIPTS, 'ceph-stop'), [folder])
    rmSync(parent, { recursive: true })
  })
  const port = await freePorts()
  const endpoint = execFileSync(join(SCRIPTS, 'ceph-start'), [folder, String(port)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
  const client = createCephClient(endpoint)
  after(() => client.destroy())
  const bucket = 'holdfast-test'
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  return {
    endpoint,
    folder,
    bucket,
    client,
    place: (at = endpoint) => ({
      bucket,
      prefix: `${randomUUID()}/`,
      endpoint: at,
      region: REGION,
      credentials: CREDENTIALS,
    }),
    settings: (place) => ({
      HOLDFAST_BLOBS_URL: `s3://${place.bucket}/${place.prefix}?endpoint=${place.endpoint}`,
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    }),
  }
}
