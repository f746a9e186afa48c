import type { IncomingHttpHeaders } from 'node:http'
import { RequestError } from './request-error.ts'

/**
 * Evaluates If-Match and If-None-Match (RFC 9110, section 13.2.2) for GET and HEAD. Conditions on
 * dates are not answered: nothing here has a modification date, versions are compared instead.
 *
 * @param etag the strong entity tag of what would be sent, with its quotes
 * @throws RequestError precondition_failed
 */
export function evaluateConditions(
  headers: IncomingHttpHeaders,
  etag: string,
): 'send' | 'not_modified' {
  const ifMatch = headers['if-match']
  if (ifMatch !== undefined && !matches(ifMatch, etag, 'strong')) {
    throw new RequestError('precondition_failed', 'the file has another version')
  }
  const ifNoneMatch = headers['if-none-match']
  return ifNoneMatch !== undefined && matches(ifNoneMatch, etag, 'weak') ? 'not_modified' : 'send'
}

function matches(list: string, etag: string, comparison: 'strong' | 'weak'): boolean {
  if (list.trim() === '*') return true
  return list.split(',').some((entry) => {
    const tag = entry.trim()
    return tag === etag || (comparison === 'weak' && tag === `W/${etag}`)
  })
}
