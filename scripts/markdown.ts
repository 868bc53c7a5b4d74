/** Markdown that is made, and documents of which parts are made. */

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(escaped).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** A bar would end the cell, a line break the row. */
const escaped = (cell: string): string => cell.replaceAll('|', '\\|').replaceAll('\n', ' ');

/**
 * The document with every part between `<!-- generated: NAME -->` and `<!-- end -->` made anew.
 * Throws when it asks for a part that is not there, or leaves one out.
 */
export function fillIn(document: string, parts: Readonly<Record<string, string>>): string {
  const left = new Set(Object.keys(parts));
  const filled = document.replaceAll(/(<!-- generated: (\w+) -->\n)[^]*?(<!-- end -->)/g, (_, start, name, end) => {
    if (!left.delete(name as string)) throw new Error(`there is no part ${name}, or it stands twice`);
    return `${start}${parts[name as string]!}\n${end}`;
  });
  if (left.size > 0) throw new Error(`no place for ${[...left].join(', ')}`);
  return filled;
}
