import { createAccountTraffic } from './account-files.ts'
import { createBoxTraffic, createSavedTraffic } from './box-files.ts'
import { createCompanyTraffic } from './company-files.ts'
import type { People } from './people.ts'
import type { Traffic } from './traffic.ts'

/** One of each kind. @param seed decides what is sent */
export function allTraffic(people: People, seed: string): [Traffic, ...Traffic[]] {
  return [
    createAccountTraffic(people, seed),
    createCompanyTraffic(people, seed),
    createBoxTraffic(people, seed),
    createSavedTraffic(people, seed),
  ]
}
