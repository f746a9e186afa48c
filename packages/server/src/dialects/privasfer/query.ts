import type { AccountQuery, SortColumn, SortTerm } from '../../core/account-files/list.ts'
import { invalid, PrivasferError } from './errors.ts'

/** A parsed query string: repeated names give arrays. */
export type Query = Record<string, string | string[] | undefined>

const SORTS: Record<string, SortColumn> = {
  filename_original: 'name',
  filename: 'name',
  size: 'size',
  encrypted_size: 'encrypted_size',
  created_at: 'created_at',
}
const TOLD_SORTS = 'filename_original, size, encrypted_size, created_at'
const TRASHED = ['with', 'without', 'only'] as const

const DEFAULT_PER_PAGE = 15
const LARGEST_PAGE = 1000

export interface PageWanted {
  /** From 1. */
  page: number
  perPage: number
}

/** @throws PrivasferError 400 for a sort that there is not, 422 for an unknown `trashed` */
export function accountQuery(query: Query): AccountQuery {
  const trashed = text(query, 'trashed') || 'with'
  const known = TRASHED.find((value) => value === trashed)
  if (!known) throw invalid({ trashed: ['The selected trashed is invalid.'] })
  return { sort: sortTerms(query), keyword: text(query, 'keyword').trim(), trashed: known }
}

/** @throws PrivasferError 400 for anything but the category */
export function includesCategory(query: Query): boolean {
  const wanted = list(query, 'include')
  const unknown = wanted.filter((name) => name !== 'category')
  if (unknown.length > 0) throw notAllowed('include', unknown, 'category')
  return wanted.length > 0
}

/** Which page is asked for, or undefined for all that there is. @throws PrivasferError 422 */
export function pageWanted(query: Query): PageWanted | undefined {
  const page = text(query, 'page') || text(query, 'page[number]')
  const perPage = text(query, 'per_page') || text(query, 'page[size]')
  if (page === '' && perPage === '') return undefined
  return {
    page: wholeNumber('page', page || '1', Number.MAX_SAFE_INTEGER / LARGEST_PAGE),
    perPage: wholeNumber('per_page', perPage || String(DEFAULT_PER_PAGE), LARGEST_PAGE),
  }
}

function sortTerms(query: Query): SortTerm[] {
  const wanted = list(query, 'sort').map((term) => ({
    name: term.replace(/^-/, ''),
    descending: term.startsWith('-'),
  }))
  const unknown = wanted.filter(({ name }) => !Object.hasOwn(SORTS, name))
  if (unknown.length > 0) {
    const names = unknown.map(({ name }) => name)
    throw notAllowed('sort', names, TOLD_SORTS)
  }
  return wanted.flatMap(({ name, descending }) => {
    const column = SORTS[name]
    return column ? [{ column, descending }] : []
  })
}

/** The words of each are what clients of this API know. */
function notAllowed(what: 'include' | 'sort', names: string[], allowed: string): PrivasferError {
  const verb = what === 'include' ? 'are' : 'is'
  return new PrivasferError(
    400,
    `Given ${what}(s) \`${names.join(', ')}\` ${verb} not allowed. Allowed ${what}(s) are \`${allowed}\`.`,
  )
}

function list(query: Query, name: string): string[] {
  return text(query, name)
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
}

function text(query: Query, name: string): string {
  const value = query[name]
  return (Array.isArray(value) ? value.at(-1) : value) ?? ''
}

function wholeNumber(name: string, value: string, most: number): number {
  const label = name.replace('_', ' ')
  if (!/^-?\d+$/.test(value)) throw invalid({ [name]: [`The ${label} must be an integer.`] })
  const number = Number(value)
  if (number < 1) throw invalid({ [name]: [`The ${label} must be at least 1.`] })
  if (number > most) throw invalid({ [name]: [`The ${label} may not be greater than ${most}.`] })
  return number
}
