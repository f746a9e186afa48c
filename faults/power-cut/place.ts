import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { pino } from 'pino'
import { type Config, loadConfig } from '../../packages/server/src/config.ts'
import { CoreError } from '../../packages/server/src/core/errors.ts'
import { type Server, startServer } from '../../packages/server/src/server.ts'
import type { Owner } from '../../packages/server/test/helpers/account.ts'
import { client, type TestCompany } from '../../packages/server/test/helpers/companies.ts'
import { call } from '../../packages/server/test/helpers/http.ts'
import type { SignedIn } from '../../packages/server/test/helpers/server.ts'

/** Who wrote, as those need who look afterwards. */
export interface People {
  readonly company: TestCompany
  readonly ann: SignedIn
  readonly owner: Owner
}

/** What a file is after an operation: SHA-256 of its content, or null for gone. */
export type State = string | null

/** Which file, as `dialect:id`, and what it is after an operation. */
export type Change = readonly [file: string, state: State]

/** A line in the trace that says that an operation begins, or was acknowledged. */
export interface Mark {
  readonly step: number
  readonly acknowledged: boolean
  readonly changes: readonly Change[]
}

/** Where a workload leaves what a check needs. */
export function paths(base: string) {
  return {
    /** The disk whose power is cut. */
    disk: join(base, 'disk'),
    marks: join(base, 'marks'),
    people: join(base, 'people.json'),
    trace: join(base, 'trace'),
  }
}

/** The store on a disk. @param rootKeyFile where its root key is; beside the data without one */
export function configOf(disk: string, rootKeyFile?: string): Config {
  return loadConfig({
    HOLDFAST_DATA: join(disk, 'data'),
    HOLDFAST_ROOT_KEY_FILE: rootKeyFile,
    HOLDFAST_PORT: '0',
    HOLDFAST_API_RATE_LIMIT: '0',
  })
}

export function start(config: Config): Promise<Server> {
  return startServer(config, pino({ level: 'silent' }), (error) => {
    throw error
  })
}

export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** What a client gets for a file. */
export async function stateOf(server: Server, people: People, file: string): Promise<State> {
  const [dialect, id = ''] = file.split(':')
  if (dialect === 'account') return accountFile(server, people.owner, id)
  const answer =
    dialect === 'company'
      ? await client(server, people.company, people.company.member).download(id)
      : await call(server, 'GET', `/encrypted-files/${id}`, { as: people.ann })
  if (answer.status === 404) return null
  if (answer.status !== 200) throw new Error(`${file}: ${answer.status} ${answer.bytes}`)
  return digestOf(answer.bytes)
}

/** Without the PIN and keys that a download asks for, which are slow on purpose. */
async function accountFile({ core }: Server, owner: Owner, id: string): Promise<State> {
  try {
    const { blob } = await core.accountFiles.content(owner.id, id)
    const hash = createHash('sha256')
    for await (const bytes of core.blobs.read(blob, 0, blob.size)) hash.update(bytes)
    return hash.digest('hex')
  } catch (error) {
    if (error instanceof CoreError && error.code === 'file_not_found') return null
    throw error
  }
}
