// `--format` text to a tree. The grammar is Go's text/template without define, template and block. Source: Go 1.24 text/template/parse, lex.go and parse.go.

/** Why a template cannot be read or run, in Go's words: people search for them. */
export class TemplateError extends Error {}

export type Expr =
  | { kind: 'dot' }
  | { kind: 'literal'; value: string | number | boolean | null; raw: string }
  | { kind: 'field'; names: readonly string[]; at: number }
  | { kind: 'variable'; name: string; names: readonly string[]; at: number }
  | { kind: 'call'; name: string; at: number }
  | { kind: 'chain'; of: Expr; names: readonly string[]; at: number }
  | { kind: 'pipe'; pipe: Pipe };

/** Commands joined by `|`; each is an operand and its arguments. */
export type Pipe = {
  readonly declare: readonly string[];
  readonly assign: boolean;
  readonly commands: readonly (readonly Expr[])[];
};

export type Node =
  | { kind: 'text'; text: string }
  | { kind: 'show'; pipe: Pipe }
  | { kind: 'branch'; word: 'if' | 'with' | 'range'; pipe: Pipe; yes: readonly Node[]; no: readonly Node[] }
  | { kind: 'leave'; word: 'break' | 'continue' };

export type Template = { readonly nodes: readonly Node[]; readonly text: string };

type Piece = { kind: 'text'; text: string } | { kind: 'action'; tokens: readonly Token[]; at: number };
type Token = {
  kind: 'field' | 'variable' | 'word' | 'literal' | 'mark';
  text: string;
  at: number;
  value?: string | number;
};

/** Reads a template; `known` tells which function names exist. Throws TemplateError. */
export function parseTemplate(text: string, known: (name: string) => boolean): Template {
  const pieces = splitPieces(text);
  const reader: Reader = { pieces, next: 0, known, line: (at) => text.slice(0, at).split('\n').length };
  const { nodes, end } = readNodes(reader);
  if (end !== undefined) throw fault(reader, end.at, `unexpected {{${end.word}}}`);
  return { nodes, text };
}

type Reader = {
  readonly pieces: readonly Piece[];
  next: number;
  readonly known: (name: string) => boolean;
  readonly line: (at: number) => number;
};

function fault(reader: Pick<Reader, 'line'>, at: number, why: string): TemplateError {
  return new TemplateError(`template: :${reader.line(at)}: ${why}`);
}

function splitPieces(text: string): Piece[] {
  const pieces: Piece[] = [];
  const line = (at: number): number => text.slice(0, at).split('\n').length;
  let at = 0;
  let trimNext = false;
  for (;;) {
    const open = text.indexOf('{{', at);
    let plain = open < 0 ? text.slice(at) : text.slice(at, open);
    if (trimNext) plain = plain.trimStart();
    const trimBefore = open >= 0 && /^-\s/.test(text.slice(open + 2));
    if (trimBefore) plain = plain.trimEnd();
    if (plain !== '') pieces.push({ kind: 'text', text: plain });
    if (open < 0) return pieces;
    const start = open + (trimBefore ? 3 : 2);
    const comment = /^\s*\/\*[\s\S]*?\*\/\s*(-?)\}\}/.exec(text.slice(start));
    if (comment !== null) {
      at = start + comment[0].length;
      trimNext = comment[1] === '-';
      continue;
    }
    const { tokens, end, trim } = readTokens(text, start, line);
    pieces.push({ kind: 'action', tokens, at: start });
    at = end;
    trimNext = trim;
  }
}

const TOKEN =
  /\s+|"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)*'|:=|[|(),=]|\$[A-Za-z0-9_]*|\.[A-Za-z_][A-Za-z0-9_]*|[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|\.|[A-Za-z_][A-Za-z0-9_]*/y;

function readTokens(
  text: string,
  start: number,
  line: (at: number) => number,
): { tokens: Token[]; end: number; trim: boolean } {
  const tokens: Token[] = [];
  let at = start;
  for (;;) {
    const close = /^\s*?(\s-)?\}\}/.exec(text.slice(at));
    if (close !== null) return { tokens, end: at + close[0].length, trim: close[1] !== undefined };
    TOKEN.lastIndex = at;
    const found = TOKEN.exec(text)?.[0];
    if (found === undefined) throw new TemplateError(`template: :${line(at)}: ${badLexeme(text.slice(at))}`);
    if (found.trim() !== '') tokens.push(asToken(found, at));
    at += found.length;
  }
}

function badLexeme(rest: string): string {
  if (rest === '') return 'unclosed action';
  if (rest.startsWith('"')) return 'unterminated quoted string';
  if (rest.startsWith('`')) return 'unterminated raw quoted string';
  const code = rest.codePointAt(0) ?? 0;
  return `unexpected U+${code.toString(16).toUpperCase().padStart(4, '0')} '${String.fromCodePoint(code)}' in command`;
}

function asToken(text: string, at: number): Token {
  if (text.startsWith('"')) return { kind: 'literal', text, at, value: unquote(text) };
  if (text.startsWith('`')) return { kind: 'literal', text, at, value: text.slice(1, -1) };
  if (text.startsWith("'"))
    return { kind: 'literal', text, at, value: unquote(`"${text.slice(1, -1)}"`).codePointAt(0) ?? 0 };
  if (/^[+-]?[0-9]/.test(text) || /^\.[0-9]/.test(text)) return { kind: 'literal', text, at, value: Number(text) };
  if (text.startsWith('$')) return { kind: 'variable', text, at };
  if (text.startsWith('.')) return { kind: 'field', text, at };
  return { kind: /^[A-Za-z_]/.test(text) ? 'word' : 'mark', text, at };
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v' };

function unquote(text: string): string {
  return text.slice(1, -1).replace(/\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)/g, (_, code: string) => {
    if (code.length > 1) return String.fromCodePoint(Number.parseInt(code.slice(1), 16));
    return ESCAPES[code] ?? code;
  });
}

type End = { word: 'end' | 'else'; at: number; tokens: readonly Token[] };

function readNodes(reader: Reader): { nodes: Node[]; end?: End } {
  const nodes: Node[] = [];
  for (;;) {
    const piece = reader.pieces[reader.next];
    if (piece === undefined) return { nodes };
    reader.next += 1;
    if (piece.kind === 'text') {
      nodes.push(piece);
      continue;
    }
    const [first, ...rest] = piece.tokens;
    if (first === undefined) throw fault(reader, piece.at, 'missing value for command');
    const word = first.kind === 'word' ? first.text : '';
    if (word === 'end' || word === 'else') return { nodes, end: { word, at: piece.at, tokens: rest } };
    if (word === 'if' || word === 'with' || word === 'range')
      nodes.push(readBranch(reader, { word, tokens: rest, at: piece.at }));
    else if (word === 'break' || word === 'continue') nodes.push({ kind: 'leave', word });
    else nodes.push({ kind: 'show', pipe: readPipe(reader, { tokens: piece.tokens, at: piece.at }) });
  }
}

function readBranch(
  reader: Reader,
  from: { word: 'if' | 'with' | 'range'; tokens: readonly Token[]; at: number },
): Node {
  const pipe = readPipe(reader, from);
  const yes = readNodes(reader);
  if (yes.end === undefined) throw fault(reader, from.at, 'unexpected EOF');
  let no: readonly Node[] = [];
  if (yes.end.word === 'else') {
    const [next, ...rest] = yes.end.tokens;
    if (next?.kind === 'word' && next.text === from.word && from.word !== 'range') {
      no = [readBranch(reader, { word: from.word, tokens: rest, at: next.at })];
    } else {
      const other = readNodes(reader);
      if (other.end === undefined) throw fault(reader, from.at, 'unexpected EOF');
      if (other.end.word === 'else') throw fault(reader, other.end.at, 'unexpected {{else}}');
      no = other.nodes;
    }
  }
  return { kind: 'branch', word: from.word, pipe, yes: yes.nodes, no };
}

function readPipe(reader: Reader, from: { tokens: readonly Token[]; at: number }): Pipe {
  const tokens = [...from.tokens];
  const declare: string[] = [];
  let assign = false;
  const sign = tokens.findIndex((token) => token.kind === 'mark' && (token.text === ':=' || token.text === '='));
  if (sign > 0) {
    assign = tokens[sign]?.text === '=';
    for (const token of tokens.splice(0, sign + 1)) if (token.kind === 'variable') declare.push(token.text);
  }
  const commands: Expr[][] = [];
  let command: Expr[] = [];
  while (tokens.length > 0) {
    if (tokens[0]?.text === '|' && tokens[0].kind === 'mark') {
      tokens.shift();
      if (command.length === 0) throw fault(reader, from.at, 'missing value for command');
      commands.push(command);
      command = [];
    } else command.push(readOperand(reader, tokens));
  }
  if (command.length === 0) throw fault(reader, from.at, 'missing value for command');
  commands.push(command);
  return { declare, assign, commands };
}

function readOperand(reader: Reader, tokens: Token[]): Expr {
  const token = tokens.shift();
  if (token === undefined) throw new TemplateError('template: unexpected end of action');
  const names: string[] = [];
  let second: number | undefined;
  const more = (after: Token): void => {
    let end = after.at + after.text.length;
    for (let next = tokens[0]; next?.kind === 'field' && next.text !== '.' && next.at === end; next = tokens[0]) {
      second ??= next.at;
      end += next.text.length;
      names.push(next.text.slice(1));
      tokens.shift();
    }
  };
  if (token.kind === 'field') {
    if (token.text === '.') return { kind: 'dot' };
    names.push(token.text.slice(1));
    more(token);
    return { kind: 'field', names, at: second ?? token.at };
  }
  if (token.kind === 'variable') {
    more(token);
    return { kind: 'variable', name: token.text, names, at: second ?? token.at };
  }
  if (token.kind === 'literal') return { kind: 'literal', value: token.value ?? null, raw: token.text };
  if (token.kind === 'word') return readWord(reader, token);
  if (token.text !== '(') throw fault(reader, token.at, `unexpected ${JSON.stringify(token.text)} in operand`);
  const { inside, close } = untilClose(reader, tokens, token);
  const of: Expr = { kind: 'pipe', pipe: readPipe(reader, { tokens: inside, at: token.at }) };
  more(close);
  return names.length === 0 ? of : { kind: 'chain', of, names, at: second ?? token.at };
}

function readWord(reader: Reader, token: Token): Expr {
  if (token.text === 'true' || token.text === 'false')
    return { kind: 'literal', value: token.text === 'true', raw: token.text };
  if (token.text === 'nil') return { kind: 'literal', value: null, raw: 'nil' };
  if (!reader.known(token.text)) throw fault(reader, token.at, `function ${JSON.stringify(token.text)} not defined`);
  return { kind: 'call', name: token.text, at: token.at };
}

function untilClose(reader: Reader, tokens: Token[], open: Token): { inside: Token[]; close: Token } {
  const inside: Token[] = [];
  for (let depth = 1; ; ) {
    const token = tokens.shift();
    if (token === undefined) throw fault(reader, open.at, 'unclosed left paren');
    if (token.kind === 'mark' && token.text === '(') depth += 1;
    if (token.kind === 'mark' && token.text === ')') depth -= 1;
    if (depth === 0) return { inside, close: token };
    inside.push(token);
  }
}
