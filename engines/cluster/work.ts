import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom, type Random } from '../../faults/soak/random.ts'
import { CutError } from '../../faults/soak/requests.ts'
import type { Traffic } from '../../faults/soak/traffic.ts'
import type { Cluster } from './cluster.ts'
import { type Happening, letHappen } from './happenings.ts'

/** Whoever was told 503, or nothing, comes back after so many milliseconds. */
const PAUSE_MS = 100

/** Lets clients work while everything happens to the cluster. @throws LossError as soon as one finds one */
export async function workThrough(
  cluster: Cluster,
  kinds: [Traffic, ...Traffic[]],
  { seed, clients, milliseconds }: { seed: string; clients: number; milliseconds: number },
): Promise<Happening[]> {
  const happenings: Happening[] = []
  const ending = new AbortController()
  const working = Array.from({ length: clients }, (_, client) =>
    workUntil(ending.signal, kinds, createRandom(`${seed} ${client}`)),
  )
  const happened = letHappen(cluster, createRandom(seed), milliseconds, ending.signal, (one) => {
    console.log(`  ${one.name}`)
    happenings.push(one)
  })
  try {
    await Promise.race([happened, ...working])
  } finally {
    ending.abort()
    await Promise.allSettled([happened, ...working])
  }
  await Promise.all(working)
  return happenings
}

/** One client: does one thing after the other. */
async function workUntil(
  ending: AbortSignal,
  kinds: [Traffic, ...Traffic[]],
  random: Random,
): Promise<void> {
  while (!ending.aborted) {
    try {
      await random.pick(kinds).step(random)
    } catch (error) {
      if (!(error instanceof CutError)) throw error
      await sleep(PAUSE_MS)
    }
  }
}
