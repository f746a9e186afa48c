import type { Frame, Stack } from './stacks.ts'

const WIDTH = 1200
const ROW = 17
const TOP = 30
const CHARACTER = 6.3
/** Share of all samples below which a function is not drawn. */
const LEAST = 0.003
const COLOURS: Readonly<Record<Frame['kind'], string>> = {
  thread: '#c3cad2',
  ours: '#7cc4a5',
  library: '#9fc3e0',
  native: '#e8c66a',
  kernel: '#e09a76',
}

interface Node {
  samples: number
  readonly frame: Frame
  readonly children: Map<string, Node>
}

/** A flame graph, the threads on top, as an SVG: the wider, the more time. */
export function drawFlame(title: string, stacks: readonly Stack[]): string {
  const root = treeOf(stacks)
  const pieces: string[] = []
  const depth = drawChildren(root, root.samples, 0, 0, pieces)
  const height = TOP + depth * ROW + 10
  const legend = (['ours', 'library', 'native', 'kernel'] as const)
    .map((kind, index) => {
      const x = WIDTH - 330 + index * 80
      return `<rect x="${x}" y="9" width="11" height="11" fill="${COLOURS[kind]}"/>${label(x + 15, 18, kind)}`
    })
    .join('')
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" fill="#fff"/>
${label(4, 18, `${title}: ${root.samples.toLocaleString('en')} samples`)}${legend}
${pieces.join('\n')}
</svg>
`
}

function treeOf(stacks: readonly Stack[]): Node {
  const root = nodeOf({ name: '', kind: 'thread' })
  for (const stack of stacks) {
    let node = root
    node.samples += 1
    for (const frame of stack) {
      const child = node.children.get(frame.name) ?? nodeOf(frame)
      node.children.set(frame.name, child)
      child.samples += 1
      node = child
    }
  }
  return root
}

function nodeOf(frame: Frame): Node {
  return { samples: 0, frame, children: new Map() }
}

/** Draws what is below a node; answers how many rows that took. */
function drawChildren(
  { children }: Node,
  total: number,
  start: number,
  row: number,
  into: string[],
): number {
  let rows = row
  let at = start
  const sorted = [...children.values()].sort((a, b) => b.samples - a.samples)
  for (const node of sorted) {
    const share = node.samples / total
    if (share < LEAST) break
    into.push(box(node.frame, share, at * WIDTH, TOP + row * ROW))
    rows = Math.max(rows, drawChildren(node, total, at, row + 1, into), row + 1)
    at += share
  }
  return rows
}

function box({ name, kind }: Frame, share: number, x: number, y: number): string {
  const width = share * WIDTH
  const shown = name.slice(0, Math.max(0, Math.floor((width - 4) / CHARACTER)))
  const tip = `<title>${escaped(name)}: ${(share * 100).toFixed(1)} %</title>`
  return `<g>${tip}<rect x="${x.toFixed(1)}" y="${y}" width="${Math.max(0.5, width - 0.5).toFixed(1)}" height="${ROW - 1}" fill="${COLOURS[kind]}"/>${shown.length > 2 ? label(x + 3, y + 12, shown) : ''}</g>`
}

function label(x: number, y: number, words: string): string {
  return `<text x="${x.toFixed(1)}" y="${y}" fill="#222">${escaped(words)}</text>`
}

function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
}
