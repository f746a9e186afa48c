import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type JWTPayload, SignJWT } from 'jose'
import { testFolder } from '../../helpers/cleanup.ts'
import {
  createCompany,
  createPerson,
  filesPath,
  refusal,
  resourceOf,
} from '../../helpers/companies.ts'
import { call, outcome, pick } from '../../helpers/http.ts'
import { startTestServer, TestClock } from '../../helpers/server.ts'

const REFUSED = refusal(401, 'Unauthorized', 'Bad credentials')
const SECRET = 'a secret that an earlier server signed with'
const NOW = new TestClock().now / 1000

function sign(claims: JWTPayload, algorithm = 'HS256', secret = SECRET): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: algorithm }).sign(Buffer.from(secret))
}

function ask(server: Parameters<typeof call>[0], path: string, token?: string) {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: token }
  return call(server, 'POST', path, { headers })
}

test('every route asks for a token', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const id = crypto.randomUUID()
  const routes: [string, string][] = [
    ['POST', filesPath(company)],
    ['POST', filesPath(company, undefined, '/')],
    ['POST', filesPath(company, id)],
    ['POST', filesPath(company, id, '/')],
    ['GET', filesPath(company, id)],
    ['HEAD', filesPath(company, id)],
    ['DELETE', filesPath(company, id)],
    ['GET', filesPath(company, id, '/upload')],
    ['GET', filesPath(company, id, '/download')],
    ['GET', filesPath(company, id, '/download/url')],
    ['GET', filesPath(company, id, '/thumbnails/0')],
    ['GET', filesPath(company, id, '/thumbnails/0/url')],
  ]
  for (const [method, path] of routes) {
    const answer = await call(server, method, path)
    assert.equal(answer.status, 401, `${method} ${path}`)
    if (method !== 'HEAD') assert.deepEqual(outcome(answer), REFUSED)
    assert.deepEqual(pick(answer.headers, 'www-authenticate', 'cache-control'), {
      'www-authenticate': 'Bearer',
      'cache-control': 'no-store',
    })
  }
  const unknown = await call(server, 'GET', '/internal/services/files/v1/nothing')
  assert.deepEqual(outcome(unknown), refusal(404, 'Not Found', 'Route not found'))
})

test('tokens of people and applications are taken, others are not', async (t) => {
  const server = await startTestServer(t)
  const company = await createCompany(server)
  const path = filesPath(company)
  for (const actor of [company.member, company.app]) {
    assert.equal((await ask(server, path, `Bearer ${actor.token}`)).status, 200)
    assert.equal((await ask(server, path, `bearer ${actor.token}`)).status, 200)
  }
  const jwt = await sign({ sub: company.member.id, exp: NOW + 60 })
  for (const wrong of [undefined, '', 'Bearer', `Basic ${company.member.token}`, `Bearer ${jwt}`]) {
    assert.deepEqual(outcome(await ask(server, path, wrong)), REFUSED)
  }
})

test("a Twake's access tokens are taken when its secret is set", async (t) => {
  const file = join(await testFolder(t), 'secret')
  await writeFile(file, `${SECRET}\n`)
  const server = await startTestServer(t, { HOLDFAST_TWAKE_JWT_SECRET_FILE: file })
  const company = await createCompany(server)
  const { member, app } = company
  const stranger = await createPerson(server, 'Stan')
  const exp = NOW + 60
  const unknown = crypto.randomUUID()

  const taken: [JWTPayload, owner: string][] = [
    [{ sub: member.id, exp }, member.id],
    [{ sub: member.id, exp, type: 'access', iat: NOW - 600, nbf: NOW - 600 }, member.id],
    [{ sub: member.id, exp, application_id: null }, member.id],
    [{ sub: app.id, exp, application_id: app.id }, app.id],
    [{ sub: member.id, exp, application_id: app.id }, app.id],
  ]
  for (const [claims, owner] of taken) {
    const answer = await ask(server, filesPath(company), `Bearer ${await sign(claims)}`)
    assert.equal(answer.status, 200, JSON.stringify(claims))
    assert.equal((resourceOf(answer) as unknown as { owner_id: string }).owner_id, owner)
  }

  const refused: JWTPayload[] = [
    { sub: member.id, exp, type: 'refresh' },
    { sub: member.id, exp, type: 'other' },
    { sub: member.id, exp: NOW },
    { sub: member.id },
    { sub: member.id, exp, nbf: NOW + 60 },
    { exp },
    { sub: unknown, exp },
    { sub: unknown, exp, application_id: app.id },
    { sub: member.id, exp, application_id: unknown },
    { sub: member.id, exp, application_id: stranger.id },
    { sub: member.id, exp, application_id: 5 },
  ]
  for (const claims of refused) {
    const answer = await ask(server, filesPath(company), `Bearer ${await sign(claims)}`)
    assert.deepEqual(outcome(answer), REFUSED, JSON.stringify(claims))
  }

  const claims = { sub: member.id, exp }
  const none = `${base64({ alg: 'none' })}.${base64(claims)}.`
  const forged = [
    await sign(claims, 'HS512', SECRET.repeat(2)),
    await sign(claims, 'HS256', `${SECRET}x`),
    `${await sign(claims)}x`,
    none,
  ]
  for (const token of forged) {
    assert.deepEqual(outcome(await ask(server, filesPath(company), `Bearer ${token}`)), REFUSED)
  }
  const outsider = await sign({ sub: stranger.id, exp })
  assert.equal((await ask(server, filesPath(company), `Bearer ${outsider}`)).status, 404)
})

function base64(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
