import type { Row } from '../row.ts'
import { clients } from './clients.ts'
import { files } from './files.ts'
import { kills } from './kills.ts'
import { powerCuts } from './power-cuts.ts'

/** Every row of the matrix. An area is a module here that exports its rows. */
export const ROWS: readonly Row[] = [...kills, ...files, ...clients, ...powerCuts]
