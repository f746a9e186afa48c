import assert from 'node:assert/strict'
import { test } from 'node:test'
import { evaluateConditions } from '../../src/http/conditions.ts'
import { RequestError } from '../../src/http/request-error.ts'

const ETAG = '"version"'
const evaluate = (headers: Record<string, string>) => evaluateConditions(headers, ETAG)
const isOutdated = (error: unknown) =>
  error instanceof RequestError && error.code === 'precondition_failed'

test('without conditions the content is sent', () => {
  assert.equal(evaluate({}), 'send')
})

test('If-Match compares strongly, and one of a list is enough', () => {
  for (const value of [ETAG, '*', ` ${ETAG} `, `"a",${ETAG}`, `W/"a" , ${ETAG}`]) {
    assert.equal(evaluate({ 'if-match': value }), 'send', value)
  }
  for (const value of ['"a"', `W/${ETAG}`, 'version', '', '"vers', '"*"']) {
    assert.throws(() => evaluate({ 'if-match': value }), isOutdated, value)
  }
})

test('If-None-Match compares weakly, and one of a list is enough', () => {
  for (const value of [ETAG, `W/${ETAG}`, '*', `"a", W/${ETAG}`]) {
    assert.equal(evaluate({ 'if-none-match': value }), 'not_modified', value)
  }
  for (const value of ['"a"', '', 'version']) {
    assert.equal(evaluate({ 'if-none-match': value }), 'send', value)
  }
})

test('If-Match is looked at first', () => {
  const both = { 'if-match': '"a"', 'if-none-match': ETAG }
  assert.throws(() => evaluate(both), isOutdated)
})

test('dates are no conditions', () => {
  assert.equal(evaluate({ 'if-modified-since': 'Wed, 21 Oct 2099 07:28:00 GMT' }), 'send')
  assert.equal(evaluate({ 'if-unmodified-since': 'Wed, 21 Oct 2015 07:28:00 GMT' }), 'send')
})
