// The text of a policy file: YAML to a plain value, with the line of every part of it for errors. Policy files are for people; the helper reads none.
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';

export type PolicyText =
  | { readonly kind: 'read'; readonly value: unknown; readonly lineOf: (path: readonly (string | number)[]) => number }
  | { readonly kind: 'bad'; readonly line: number; readonly why: string };

/** Reads one YAML document. Keys that stand twice, anchors and tags are refused: what is read must be what is seen. */
export function readPolicyText(text: string): PolicyText {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, schema: 'core', prettyErrors: false });
  const [first] = [...document.errors, ...document.warnings];
  const line = (at: number): number => lines.linePos(at).line;
  if (first !== undefined) return { kind: 'bad', line: line(first.pos[0]), why: first.message.split('\n')[0] ?? '' };
  try {
    return {
      kind: 'read',
      value: document.toJS({ maxAliasCount: 0 }),
      lineOf: (path) => line(startOf(document.contents, path)),
    };
  } catch {
    return { kind: 'bad', line: 1, why: 'aliases are not allowed: write the value where it belongs' };
  }
}

/** Where the key or element stands that the path leads to, or the last of its parts that is there. */
function startOf(root: Node | null, path: readonly (string | number)[]): number {
  let [node, at]: [unknown, number] = [root, root?.range?.[0] ?? 0];
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (pair === undefined) break;
      at = (isScalar(pair.key) ? pair.key.range?.[0] : undefined) ?? at;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      at = (isScalar(node) || isMap(node) || isSeq(node) ? node.range?.[0] : undefined) ?? at;
    }
  }
  return at;
}
