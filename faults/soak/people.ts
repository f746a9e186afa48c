import assert from 'node:assert/strict'
import { COMMAND, createSession, holdfastJson, run, type Settings } from '../../e2e/processes.ts'
import { PUBLIC_KEY } from '../../packages/server/test/helpers/server.ts'
import { type Answer, expected, type Question } from './requests.ts'

const EMAIL = 'ann@example.com'
const PIN = '273-soak'

/** Asks whichever server there is. @param path of the address @throws CutError */
export type Ask = (path: string, method: string, question?: Question) => Promise<Answer>

/** Those who use a store, and what they have in it. */
export interface People {
  readonly ask: Ask
  /** A person with an account, and a member of the company. */
  readonly member: Record<string, string>
  /** An application of the company, which overwrites files. */
  readonly application: Record<string, string>
  /** The cookies of somebody with a box. */
  readonly session: Record<string, string>
  readonly identityId: string
  readonly boxId: string
  readonly companyId: string
  /** Unlocks downloads of several files. */
  pinKey(): Promise<string>
}

/** Makes them in a store that is served. @param settings of the commands that do so */
export async function createPeople(settings: Settings, ask: Ask): Promise<People> {
  const json = <T>(...words: string[]) => holdfastJson<T>(settings, ...words)
  const byEmail = ['--email', EMAIL]
  await json('user', 'create', ...byEmail, '--name', 'Ann Example')
  const pinSet = await run(
    process.execPath,
    [COMMAND, 'user', 'set', ...byEmail, '--pin-stdin', '--json'],
    settings,
    `${PIN}\n`,
  )
  assert.equal(pinSet.code, 0, pinSet.stderr)
  const { token } = await json<{ token: string }>('token', 'create', ...byEmail, '--name', 'soak')
  const { id: identityId, headers: session } = await createSession(settings, EMAIL)
  const { company_id: companyId } = await json<{ company_id: string }>(
    ...['company', 'create', '--name', 'Acme', '--owner', EMAIL],
  )
  const app = await json<{ token: string }>(
    ...['app', 'create', '--company', companyId, '--name', 'Editor'],
  )
  const box = expected<{ id: string }>(
    await ask('/boxes', 'POST', {
      headers: session,
      json: { title: 'A box', public_key: PUBLIC_KEY },
    }),
    201,
  )
  const member = { authorization: `Bearer ${token}` }
  let pinKey: { key: string; until: number } | undefined

  return {
    ask,
    member,
    application: { authorization: `Bearer ${app.token}` },
    session,
    identityId,
    boxId: box.id,
    companyId,

    async pinKey() {
      if (pinKey && pinKey.until > Date.now()) return pinKey.key
      const answer = await ask('/api/keys', 'POST', { headers: member, json: { pin: PIN } })
      const { data } = expected<{ data: { key: string } }>(answer, 201)
      pinKey = { key: data.key, until: Date.now() + 50 * 60_000 }
      return data.key
    },
  }
}
