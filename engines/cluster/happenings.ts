import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../../faults/soak/random.ts'
import type { Cluster } from './cluster.ts'
import { SERVERS } from './servers.ts'

/** Something that happens to the cluster while it works. */
export interface Happening {
  readonly name: string
  /** When it began, in milliseconds of `performance.now()`. */
  readonly at: number
}

/** One of a round. */
interface Step {
  readonly name: string
  /** When it begins, as a share of the round. */
  readonly share: number
  run(): Promise<void>
}

const ROUND_MS = 120_000

/**
 * Lets everything happen, one after the other: rounds of two minutes, and within the last one
 * PostgreSQL is lost for good. Answers when the time is over.
 *
 * @param signal ends the wait early
 */
export async function letHappen(
  cluster: Cluster,
  random: Random,
  milliseconds: number,
  signal: AbortSignal,
  onHappening: (happening: Happening) => void,
): Promise<void> {
  const rounds = Math.max(1, Math.round(milliseconds / ROUND_MS))
  const length = milliseconds / rounds
  const begun = performance.now()
  for (let round = 0; round < rounds; round += 1) {
    for (const { name, share, run } of stepsOf(cluster, random, round === rounds - 1)) {
      await until(begun + (round + share) * length)
      onHappening({ name, at: performance.now() })
      await run()
    }
    await until(begun + (round + 1) * length)
  }

  async function until(time: number): Promise<void> {
    await sleep(Math.max(0, time - performance.now()), undefined, { signal })
  }
}

function stepsOf(
  { ceph, postgres, database, servers }: Cluster,
  random: Random,
  isLast: boolean,
): Step[] {
  const osd = random.any(ceph.osds) as string
  const gateway = random.any(ceph.gateways) as string
  const server = random.between(0, SERVERS)
  const steps = [
    { name: 'a storage daemon: kill -9', share: 0.08, run: async () => ceph.kill(osd) },
    { name: 'the storage daemon is started again', share: 0.25, run: () => ceph.start(osd) },
    { name: 'a gateway: kill -9', share: 0.33, run: async () => ceph.kill(gateway) },
    { name: 'the gateway is started again', share: 0.38, run: () => ceph.start(gateway) },
    { name: 'a server: kill -9', share: 0.46, run: () => servers.kill(server) },
    { name: 'the server is started again', share: 0.51, run: () => servers.start(server) },
    { name: 'PostgreSQL: restart -m immediate', share: 0.6, run: postgres.restart },
  ]
  if (!isLast) return steps
  return [
    ...steps,
    {
      name: 'PostgreSQL: kill -9, the standby is promoted',
      share: 0.74,
      async run() {
        postgres.killPrimary()
        await postgres.promote()
        database.moveTo([postgres.standbyPort])
      },
    },
  ]
}
