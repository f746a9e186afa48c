import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { createCephClient } from '../ceph-client.ts'
import { freePorts } from '../ports.ts'
import { runScript } from '../scripts.ts'
import { killSurely } from './processes.ts'

const OSDS = 3
const GATEWAYS = 2
const BUCKET = 'holdfast'

/** A Ceph whose every object lies on two of three disks, behind two gateways. */
export interface CephCluster {
  readonly bucket: string
  readonly gatewayPorts: readonly number[]
  /** The processes that were started last, by kind. */
  pids(): Record<'ceph-mon' | 'ceph-osd' | 'radosgw', number[]>
  /** Those that others take the place of when they are gone. */
  readonly osds: readonly string[]
  readonly gateways: readonly string[]
  /** Ends one without a word. */
  kill(daemon: string): void
  /** Starts it again with what it had. */
  start(daemon: string): Promise<void>
  stop(): Promise<void>
}

/** @param folder for its files, which is made and stays */
export async function startCephCluster(folder: string): Promise<CephCluster> {
  const port = await freePorts()
  const osds = numbers(OSDS).map((number) => `osd.${number}`)
  const gateways = numbers(GATEWAYS).map((number) => `client.gateway${number}`)
  const stop = () => runScript('ceph-stop', [folder, 'keep'])
  const pidOf = (name: string) =>
    Number(readFileSync(join(folder, 'run', `${name}.process`), 'utf8'))
  try {
    await runScript('ceph-start', [folder, String(port)], {
      OSDS: String(OSDS),
      COPIES: '2',
      GATEWAYS: String(GATEWAYS),
      STORE: 'bluestore',
    })
    await makeBucket(port)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    bucket: BUCKET,
    ...{ osds, gateways },
    gatewayPorts: numbers(GATEWAYS).map((number) => port + number),
    pids: () => ({
      'ceph-mon': [pidOf('mon.a')],
      'ceph-osd': osds.map(pidOf),
      radosgw: gateways.map(pidOf),
    }),
    kill: (daemon) => killSurely(pidOf(daemon)),
    start: (daemon) => runScript('ceph-daemon', [folder, daemon]),
    stop,
  }
}

async function makeBucket(port: number): Promise<void> {
  const client = createCephClient(`http://127.0.0.1:${port}`)
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }))
  client.destroy()
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, number) => number)
}
