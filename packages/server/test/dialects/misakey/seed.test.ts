import { test } from 'node:test'
import { loadFixture, replay } from '../../helpers/replay.ts'
import { createBox, PUBLIC_KEY, signIn, startTestServer } from '../../helpers/server.ts'

for (const name of ['box-files', 'saved-files-newer', 'saved-files-older']) {
  const fixture = await loadFixture(new URL(`seed/${name}.json`, import.meta.url))

  test(`«${fixture.title}» is answered as it is printed`, async (t) => {
    const server = await startTestServer(t)
    const ann = await signIn(server, 'Ann Example')
    await replay(t, server, fixture, {
      accesstoken: ann.accessToken,
      csrf_token: ann.csrfToken,
      identity: ann.id,
      box: await createBox(server, ann),
      public_key: PUBLIC_KEY,
    })
  })
}
