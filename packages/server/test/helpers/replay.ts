import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { TestContext } from 'node:test'
import type { Server } from '../../src/server.ts'
import { read } from './http.ts'

/**
 * Requests and answers that a document prints, in the order in which they are sent.
 *
 * `{name}` stands for a variable. In an expected answer `<uuid>` and `<instant>` stand for any of their
 * kind; `<uuid:name>` keeps what came as the variable `name`.
 */
export interface Fixture {
  title: string
  exchanges: Exchange[]
}

export interface Exchange {
  name: string
  request: {
    method: string
    path: string
    headers?: Record<string, string>
    json?: unknown
    form?: FormPart[]
  }
  response: {
    status: number
    headers?: Record<string, string>
    /** The whole body as the document prints it; an answer without body has none. */
    body?: unknown
    /** What the answer has besides, where the document prints less than there is. */
    also?: unknown
    /** The answer may have more than `body`. */
    partly?: boolean
    /** The body is this file, byte for byte. */
    file?: string
  }
}

export type FormPart =
  | { name: string; text: string }
  /** Random bytes, remembered by the name of the file. */
  | { name: string; filename?: string; file: string; size: number }

export async function loadFixture(url: URL): Promise<Fixture> {
  return JSON.parse(await readFile(url, 'utf8')) as Fixture
}

/** Sends every request of a fixture and holds every answer against it. */
export async function replay(
  t: TestContext,
  server: Server,
  fixture: Fixture,
  variables: Record<string, string>,
): Promise<void> {
  const values = new Map(Object.entries(variables))
  const files = new Map<string, Buffer>()
  for (const exchange of fixture.exchanges) {
    await t.test(exchange.name, () => replayOne(server, exchange, values, files))
  }
}

async function replayOne(
  server: Server,
  { request, response }: Exchange,
  values: Map<string, string>,
  files: Map<string, Buffer>,
): Promise<void> {
  const filled = fill(request, values) as Exchange['request']
  const { method, path, headers = {}, json, form } = filled
  const answer = await read(
    await fetch(`${server.address}${path}`, {
      method,
      headers: { ...headers, ...(json !== undefined && { 'Content-Type': 'application/json' }) },
      body: form ? formOf(form, files) : json === undefined ? null : JSON.stringify(json),
    }),
  )
  assert.equal(answer.status, response.status, `${answer.bytes}`)
  for (const [name, value] of Object.entries(response.headers ?? {})) {
    assert.equal(answer.headers.get(name), fill(value, values), name)
  }
  if (response.file !== undefined) {
    assert.ok(answer.bytes.equals(files.get(response.file) ?? Buffer.of()), 'the same bytes')
    return
  }
  const expected = merge(response.body, response.also)
  const actual = response.partly ? narrow(answer.body, expected) : answer.body
  assert.deepEqual(actual, concrete(expected, actual, values))
}

function formOf(parts: readonly FormPart[], files: Map<string, Buffer>): FormData {
  const form = new FormData()
  for (const part of parts) {
    if ('text' in part) {
      form.append(part.name, part.text)
    } else {
      const bytes = randomBytes(part.size)
      files.set(part.file, bytes)
      form.append(part.name, new Blob([bytes]), part.filename ?? part.name)
    }
  }
  return form
}

/** Variables put in, everywhere in a value. */
function fill(value: unknown, values: Map<string, string>): unknown {
  if (typeof value === 'string') {
    return value.replace(/\{(\w+)\}/g, (_, name: string) => {
      const known = values.get(name)
      assert.ok(known !== undefined, `no variable ${name}`)
      return known
    })
  }
  return mapped(value, (inner) => fill(inner, values))
}

const PLACEHOLDERS: Record<string, RegExp> = {
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  instant: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/,
}

/** `expected` with each placeholder replaced by what stands in its place, if that is of its kind. */
function concrete(expected: unknown, actual: unknown, values: Map<string, string>): unknown {
  if (typeof expected === 'string') {
    const [, kind = '', name] = /^<(\w+)(?::(\w+))?>$/.exec(expected) ?? []
    const pattern = PLACEHOLDERS[kind]
    if (!pattern) return fill(expected, values)
    if (typeof actual !== 'string' || !pattern.test(actual)) return expected
    if (name) values.set(name, actual)
    return actual
  }
  const inside = actual as Record<string, unknown> | null | undefined
  return mapped(expected, (inner, key) => concrete(inner, inside?.[key], values))
}

/** Only those members of `actual` that `expected` has. */
function narrow(actual: unknown, expected: unknown): unknown {
  if (!isRecord(actual) || !isRecord(expected)) return actual
  return Object.fromEntries(
    Object.entries(actual)
      .filter(([key]) => key in expected)
      .map(([key, value]) => [key, narrow(value, expected[key])]),
  )
}

function merge(one: unknown, other: unknown): unknown {
  if (!isRecord(one) || !isRecord(other)) return other === undefined ? one : other
  const keys = new Set([...Object.keys(one), ...Object.keys(other)])
  return Object.fromEntries([...keys].map((key) => [key, merge(one[key], other[key])]))
}

function mapped(value: unknown, change: (inner: unknown, key: string) => unknown): unknown {
  if (Array.isArray(value)) return value.map((inner, index) => change(inner, String(index)))
  if (!isRecord(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, change(inner, key)]))
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
