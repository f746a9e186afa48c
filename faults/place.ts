import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pino } from 'pino'
import { type Launch, type ServerProcess, startServerProcess } from '../e2e/processes.ts'
import { loadConfig } from '../packages/server/src/config.ts'
import { type Server, startServer } from '../packages/server/src/server.ts'
import { type Files, nodeFiles } from '../packages/server/src/store/files.ts'
import { folderPaths } from '../packages/server/src/store/folder.ts'
import { createOwner, type Owner } from '../packages/server/test/helpers/account.ts'
import { atEnd, type Scope, testFolder } from '../packages/server/test/helpers/cleanup.ts'
import { createCompany, type TestCompany } from '../packages/server/test/helpers/companies.ts'
import { createBox, type SignedIn, signIn } from '../packages/server/test/helpers/server.ts'
import type { Order, Report } from './arm.ts'

/** Everybody who sends something. */
export interface People {
  readonly ann: SignedIn
  readonly boxId: string
  readonly owner: Owner
  /** Of the owner: what a PIN gives for an hour, here for longer. */
  readonly pinKey: string
  readonly company: TestCompany
}

/** A server on a folder of its own, as its clients know it. */
export interface Place extends People {
  /** The data folder. */
  readonly data: string
  /** Where it listens now. */
  readonly server: { readonly address: string }
}

export const ARM = new URL('./arm.ts', import.meta.url).pathname
const PIN = '482915'

interface Template {
  readonly folder: string
  readonly people: People
}

let made: Promise<Template> | undefined

/** Puts a folder that is known to all into `folder`: people, a box, a company, and no file yet. */
async function furnish(t: Scope): Promise<{ data: string; people: People }> {
  made ??= makeTemplate()
  const { folder, people } = await made
  const own = await testFolder(t)
  await cp(folder, own, { recursive: true })
  return { data: join(own, 'data'), people }
}

const ends: (() => unknown)[] = []

/** Removes what all rows share. */
export async function removeTemplate(): Promise<void> {
  for (const end of ends.splice(0)) await end()
}

async function makeTemplate(): Promise<Template> {
  const folder = await testFolder({ after: (end) => ends.push(end) })
  const server = await startHere(join(folder, 'data'))
  const ann = await signIn(server, 'Ann Example')
  const owner = await createOwner(server, 'Author Name', { pin: PIN })
  const people = {
    ann,
    boxId: await createBox(server, ann),
    owner,
    pinKey: (await server.core.pins.unlock(owner.id, PIN, '')).key,
    company: await createCompany(server),
  }
  await server.close()
  const database = new DatabaseSync(folderPaths(join(folder, 'data')).database)
  database.exec(`update pin_key set expires_at = ${Number.MAX_SAFE_INTEGER}`)
  database.close()
  return { folder, people }
}

/** Copies a data folder and the key beside it. */
export async function copyData(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true })
  await cp(`${from}.key`, `${to}.key`)
}

function startHere(data: string, files: Files = nodeFiles, clock = Date.now): Promise<Server> {
  const config = loadConfig({ ...settingsOf(data), HOLDFAST_PORT: '0' })
  const fail = (error: Error) => {
    throw error
  }
  return startServer(config, pino({ level: 'silent' }), fail, clock, files)
}

export function settingsOf(data: string): Record<string, string> {
  return {
    HOLDFAST_DATA: data,
    HOLDFAST_API_RATE_LIMIT: '0',
    // Only rows about previews make some.
    HOLDFAST_PREVIEW_MAX_MB: '0',
  }
}

/** A place whose server runs in this process, on files that the row chooses. */
export interface PlaceHere extends Place {
  readonly server: Server
}

export async function startPlaceHere(t: Scope, files = nodeFiles): Promise<PlaceHere> {
  const { data, people } = await furnish(t)
  const server = await startHere(data, files)
  let closed: Promise<void> | undefined
  const close = () => {
    closed ??= server.close()
    return closed
  }
  atEnd(t, close)
  return { ...people, data, server: { ...server, close } }
}

/** A place whose server is a process of its own. */
export interface PlaceApart extends Place {
  server: ServerProcess
  /** Tells the server what goes wrong from now on; answers what it did since the last time. */
  order(order: Order): Promise<Report>
  /** Starts another process after the first has ended. */
  startAgain(order?: Order): Promise<void>
}

/** @param order for the first start */
export async function startPlaceApart(
  t: Scope,
  given: Record<string, string> = {},
  first: Order = {},
): Promise<PlaceApart> {
  return startApart(t, await furnish(t), given, first)
}

/** The same on a folder that is there. */
export async function startApart(
  t: Scope,
  { data, people }: { data: string; people: People },
  given: Record<string, string> = {},
  first: Order = {},
  launch: Launch = {},
): Promise<PlaceApart> {
  const settings = { ...settingsOf(data), ...given }
  const start = (order: Order) => startArmed(t, settings, order, launch)
  const place: PlaceApart = {
    ...people,
    data,
    server: await start(first),
    order: ask,
    async startAgain(order = {}) {
      place.server = await start(order)
    },
  }
  function ask(order: Order): Promise<Report> {
    const { child } = place.server
    return new Promise((resolve, reject) => {
      child.once('message', (report) => resolve(report as Report))
      child.send(order, (error) => error && reject(error))
    })
  }
  return place
}

/** A server of which a row decides when it ends. */
export function startArmed(
  t: Scope,
  settings: Record<string, string>,
  order: Order,
  launch: Launch = {},
): Promise<ServerProcess> {
  return startServerProcess(
    t,
    { ...settings, FAULTS_ORDER: JSON.stringify(order) },
    { ...launch, flags: ['--import', ARM], channel: true },
  )
}
