import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pattern } from '../../helpers/bytes.ts'
import { chunkQuery, client, createCompany, resourceOf } from '../../helpers/companies.ts'
import { startTestServer } from '../../helpers/server.ts'
import { tamper } from '../../helpers/store.ts'

const faults: Record<string, string> = {
  'lost its last part, with a size that fits':
    'delete from blob_part where number = 3; update blob set size = 200000',
  'has parts in another order': `update blob_part set number = 9 where number = 1;
    update blob_part set number = 1 where number = 2;
    update blob_part set number = 2 where number = 9`,
  'has a part twice': `update blob_part set (object, sealed) =
    (select object || 'x', sealed from blob_part where number = 1) where number = 2`,
}

for (const [what, fault] of Object.entries(faults)) {
  test(`a file in chunks that ${what} is not handed out`, async (t) => {
    const server = await startTestServer(t)
    const company = await createCompany(server)
    const mia = client(server, company, company.member)
    const bytes = pattern(300_000)
    const { id } = resourceOf(await mia.init())
    for (const number of [1, 2, 3]) {
      const chunk = bytes.subarray((number - 1) * 100_000, number * 100_000)
      await mia.send(id, chunk, chunkQuery(number, 3, bytes.length))
    }
    assert.deepEqual(Buffer.from((await mia.download(id)).bytes), Buffer.from(bytes))

    await tamper(server.config, fault)
    const answer = await mia.download(id)
    assert.equal(answer.status, 500)
    assert.equal(String(answer.bytes).includes(String(Buffer.from(bytes.subarray(0, 16)))), false)
  })
}
