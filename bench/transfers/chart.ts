import type { Line } from './report.ts'

const WIDTH = 720
const LABEL = 190
const BAR = 14
const GAP = 18
const COLOURS: Readonly<Record<string, string>> = {
  'nginx tuned': '#9aa5b1',
  nginx: '#c3cad2',
  'plain Node': '#b5a58a',
  '@tus/server': '#cf9f6e',
  'rclone crypt': '#a88bb8',
  Holdfast: '#1f7a5c',
}

/** Bars of throughput against the first contestant, as an SVG. */
export function chart(all: readonly Line[]): string {
  const cells = [...new Set(all.map(({ cell }) => cell))]
  const most = Math.max(1, ...all.map(({ ratio }) => ratio))
  const scale = (WIDTH - LABEL - 60) / most
  let y = 10
  const pieces: string[] = []
  for (const cell of cells) {
    const rows = all.filter((line) => line.cell === cell)
    y += 14
    pieces.push(text(10, y, rows[0]?.title ?? cell, 'font-weight="bold"'))
    y += 6
    for (const { name, ratio } of rows) {
      const width = Math.max(1, ratio * scale)
      const colour = COLOURS[name] ?? '#777'
      pieces.push(text(24, y + BAR - 3, name))
      pieces.push(
        `<rect x="${LABEL}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 3}" fill="${colour}"/>`,
      )
      pieces.push(text(LABEL + width + 6, y + BAR - 4, ratio.toFixed(2)))
      y += BAR
    }
    y += GAP - BAR
  }
  const size = `width="${WIDTH}" height="${y + 10}" viewBox="0 0 ${WIDTH} ${y + 10}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="11">
<title>Throughput as a ratio to tuned nginx</title>
<rect width="100%" height="100%" fill="#fff"/>
${pieces.join('\n')}
</svg>
`
}

function text(x: number, y: number, words: string, more = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y}" fill="#222" ${more}>${words}</text>`
}
