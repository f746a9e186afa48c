import type { Row } from '../row.ts'
import { clients } from './clients.ts'
import { commands } from './commands.ts'
import { files } from './files.ts'
import { kills } from './kills.ts'
import { machine } from './machine.ts'
import { model } from './model.ts'
import { moves } from './moves.ts'
import { powerCuts } from './power-cuts.ts'
import { previews } from './previews.ts'
import { starts } from './starts.ts'
import { volume } from './volume.ts'

/** Every row of the matrix. An area is a module here that exports its rows. */
export const ROWS: readonly Row[] = [
  ...kills,
  ...starts,
  ...commands,
  ...moves,
  ...files,
  ...machine,
  ...previews,
  ...powerCuts,
  ...volume,
  ...clients,
  ...model,
]
