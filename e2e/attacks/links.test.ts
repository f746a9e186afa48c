/**
 * Somebody who can write the database turns a link to the blob of somebody else, or gives a row to
 * himself. The sealed value of a linking row says whose it is and which blob it was made for.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { changeColumns } from '../../packages/server/test/helpers/columns.ts'
import { startTenants } from '../../packages/server/test/helpers/tenants.ts'

const LINKS: Record<string, readonly string[]> = {
  account_file: ['blob_id', 'owner_id'],
  company_file: ['blob_id', 'company_id'],
  company_upload: ['blob_id'],
  box_event: ['blob_id', 'box_id'],
  saved_file: ['blob_id', 'identity_id'],
}

test('a link that was turned to the content of somebody else gives nothing', async (t) => {
  const tenants = await startTenants(t)
  const { strangers, wrong, changes } = await changeColumns(
    tenants,
    (table, column) => LINKS[table]?.includes(column) ?? false,
    { rows: 1, lies: false },
  )
  assert.deepEqual({ strangers, wrong }, { strangers: [], wrong: [] })
  assert.ok(changes >= 24, `${changes} changes`)
})
