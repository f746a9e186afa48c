import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Settings } from '../../e2e/processes.ts'
import { query } from '../../packages/server/test/helpers/postgres.ts'
import { CREDENTIALS, REGION } from '../ceph-client.ts'
import { type CephCluster, startCephCluster } from './ceph-cluster.ts'
import { type PostgresPair, startPostgresPair } from './postgres-pair.ts'
import { type Servers, startServers } from './servers.ts'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'

const DATABASE = 'holdfast'

/** Everything that a Holdfast of several processes stands on, on one machine. */
export interface Cluster {
  readonly folder: string
  /** For everybody who starts a server or a command. */
  readonly settings: Settings
  readonly ceph: CephCluster
  readonly postgres: PostgresPair
  /** The address of the database, whichever PostgreSQL serves it. */
  readonly database: TcpProxy
  readonly servers: Servers
  /** Ends everything. @param keep whether files stay, and the servers' logs with them */
  close(keep: boolean): Promise<void>
}

export async function startCluster(): Promise<Cluster> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-cluster-'))
  // PostgreSQL, which may run as another user, has a folder of its own below it.
  await chmod(folder, 0o711)
  const ends: (() => unknown)[] = []
  const end = async () => {
    for (const each of ends.reverse()) await each()
  }
  try {
    const ceph = await startCephCluster(join(folder, 'ceph'))
    ends.push(ceph.stop)
    const postgres = await startPostgresPair(join(folder, 'postgres'))
    ends.push(postgres.stop)
    const database = await startTcpProxy([postgres.primaryPort])
    ends.push(database.close)
    const gateways = await startTcpProxy(ceph.gatewayPorts)
    ends.push(gateways.close)

    const base = `postgres://holdfast@127.0.0.1:${database.port}`
    await query({ url: `${base}/postgres`, unsafe: false }, `create database ${DATABASE}`)
    const settings = {
      HOLDFAST_DATABASE_URL: `${base}/${DATABASE}`,
      HOLDFAST_BLOBS_URL: `s3://${ceph.bucket}?endpoint=http://127.0.0.1:${gateways.port}&region=${REGION}`,
      HOLDFAST_ROOT_KEY_FILE: join(folder, 'root.key'),
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
      HOLDFAST_API_RATE_LIMIT: '0',
    }
    const servers = await startServers(settings)
    ends.push(servers.killAll)
    return {
      ...{ folder, settings, ceph, postgres, database, servers },
      async close(keep) {
        await end()
        if (!keep) return rm(folder, { recursive: true })
        for (const [number, log] of servers.logs().entries()) {
          await writeFile(join(folder, `server-${number}.log`), log)
        }
      },
    }
  } catch (error) {
    await end()
    await rm(folder, { recursive: true })
    throw error
  }
}
