import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'

const ROOT = new URL('../../../', import.meta.url)
const FILES = [
  'Dockerfile',
  'compose.yaml',
  'deploy/Caddyfile',
  'deploy/holdfast.service',
  'deploy/nginx.conf',
]

test('the files for a deployment name settings that there are, and no others', async () => {
  const config = await readFile(new URL('packages/server/src/config.ts', ROOT), 'utf8')
  const known = new Set<string>()
  for (const [, secret, name = ''] of config.matchAll(
    /(secret\()?['`](?:\$\{prefix\})?((?:HOLDFAST|AWS)_[A-Z0-9_]+)['`]/g,
  )) {
    known.add(name)
    if (secret) known.add(`${name}_FILE`)
  }
  // It is read as a secret by the name that it is handed.
  known.add('HOLDFAST_DATABASE_URL_FILE')
  assert.ok(known.has('HOLDFAST_METRICS_TOKEN_FILE'))
  for (const file of FILES) {
    const text = await readFile(new URL(file, ROOT), 'utf8')
    for (const [name] of text.matchAll(/\b(?:HOLDFAST|AWS)_[A-Z0-9_]+\b/g)) {
      assert.ok(known.has(name), `${file} names ${name}`)
    }
  }
})

test('the image and the service run what npm start runs', async () => {
  const { scripts, dependencies } = JSON.parse(
    await readFile(new URL('package.json', ROOT), 'utf8'),
  ) as { scripts: { start: string }; dependencies: { node: string } }
  const [, start] = /^NODE_COMPILE_CACHE=\S+ (node .*)$/.exec(scripts.start) ?? []
  const dockerfile = await readFile(new URL('Dockerfile', ROOT), 'utf8')
  const [, command = ''] = /^CMD (\[.*\])$/m.exec(dockerfile) ?? []
  assert.equal((JSON.parse(command) as string[]).join(' '), start)
  assert.match(dockerfile, /NODE_COMPILE_CACHE=/)
  assert.match(dockerfile, new RegExp(`^ARG NODE=${dependencies.node}-`, 'm'))
  const service = await readFile(new URL('deploy/holdfast.service', ROOT), 'utf8')
  const [, words] = /^ExecStart=\/\S+\/(node .*)$/m.exec(service) ?? []
  assert.equal(words, start)
  assert.match(service, /NODE_COMPILE_CACHE=/)
})
