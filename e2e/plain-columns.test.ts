/**
 * Somebody who can write the database changes every plain column of every table: takes values of other
 * rows, changes them about, lies about numbers. Content is right or refused, and nobody gets content
 * of another but through the rows that say who is who: those are known, and listed in
 * `docs/reliability.md`.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { changeColumns } from '../packages/server/test/helpers/columns.ts'
import { startTenants } from '../packages/server/test/helpers/tenants.ts'

/** Who signs in as whom and who belongs where is in the open: who writes it lets himself in. */
const WHO_IS_WHO = [
  'api_token.identity_id',
  'api_token.token_hash',
  'box_member.box_id',
  'box_member.identity_id',
  'company_member.company_id',
  'company_member.identity_id',
  'session.identity_id',
  'session.token_hash',
]

test('no change of a plain column gives wrong content, or content to a stranger, but where it is known', async (t) => {
  const { strangers, wrong, changes } = await changeColumns(await startTenants(t), () => true, {
    rows: 2,
    lies: true,
  })
  assert.deepEqual({ strangers, wrong }, { strangers: WHO_IS_WHO, wrong: [] })
  assert.ok(changes > 500, `${changes} changes`)
  t.diagnostic(`${changes} changes`)
})
