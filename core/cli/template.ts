// Runs a `--format` template over a value. Source: Go 1.24 text/template/exec.go.
import { goText, isMap } from './go-value.ts';
import { FUNCTIONS, isFunction, isTruthy } from './template-funcs.ts';
import { type Expr, type Node, type Pipe, parseTemplate, type Template, TemplateError } from './template-parse.ts';

/** Gives what a field is that the value lacks, or throws TemplateError (`can't evaluate field …`, `map has no entry …`) through `fail`. */
export type Missing = (name: string, fail: (why: string) => never) => unknown;

/** Reads a template with Docker's functions. Throws TemplateError. */
export function readTemplate(text: string): Template {
  return parseTemplate(text, isFunction);
}

/** The text of a template over a value. A field that is a function is a method: it gets the arguments that follow. Throws TemplateError. */
export function runTemplate(template: Template, data: unknown, missing: Missing = noField): string {
  const run: Run = {
    out: [],
    data,
    missing,
    text: template.text,
    scopes: [new Map([['$', { value: data, name: '' }]])],
  };
  runNodes(run, template.nodes, { value: data, name: '' });
  return run.out.join('');
}

function noField(_name: string, fail: (why: string) => never): unknown {
  return fail("can't evaluate field");
}

/** A value and the field it came from: printing needs the name. */
type Value = { readonly value: unknown; readonly name: string };
type Run = {
  readonly out: string[];
  readonly data: unknown;
  readonly missing: Missing;
  readonly text: string;
  readonly scopes: Map<string, Value>[];
};

class Leave extends Error {
  readonly word: 'break' | 'continue';
  constructor(word: 'break' | 'continue') {
    super(word);
    this.word = word;
  }
}

function runNodes(run: Run, nodes: readonly Node[], dot: Value): void {
  for (const node of nodes) {
    if (node.kind === 'text') run.out.push(node.text);
    else if (node.kind === 'leave') throw new Leave(node.word);
    else if (node.kind === 'branch') runBranch(run, node, dot);
    else {
      const shown = evalPipe(run, node.pipe, dot);
      if (node.pipe.declare.length === 0) run.out.push(goText(shown.value, shown.name));
    }
  }
}

function runBranch(run: Run, node: Node & { kind: 'branch' }, dot: Value): void {
  run.scopes.push(new Map());
  const over = evalPipe(run, node.pipe, dot);
  if (node.word === 'range') runRange(run, { node, over, dot });
  else if (isTruthy(over.value)) runNodes(run, node.yes, node.word === 'with' ? over : dot);
  else runNodes(run, node.no, dot);
  run.scopes.pop();
}

function runRange(run: Run, loop: { node: Node & { kind: 'branch' }; over: Value; dot: Value }): void {
  const entries = entriesOf(loop.over);
  if (entries.length === 0) runNodes(run, loop.node.no, loop.dot);
  const [first, second] = loop.node.pipe.declare;
  for (const [key, element] of entries) {
    run.scopes.push(new Map());
    if (second !== undefined) {
      declare(run, first, { value: key, name: '' });
      declare(run, second, element);
    } else declare(run, first, element);
    const depth = run.scopes.length;
    try {
      runNodes(run, loop.node.yes, element);
    } catch (error) {
      if (!(error instanceof Leave)) throw error;
      run.scopes.length = depth;
      if (error.word === 'break') {
        run.scopes.pop();
        return;
      }
    }
    run.scopes.pop();
  }
}

function entriesOf(over: Value): [string | number, Value][] {
  const { value } = over;
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value.map((one, at) => [at, { value: one, name: '' }]);
  if (typeof value === 'number') return Array.from({ length: value }, (_, at) => [at, { value: at, name: '' }]);
  if (typeof value !== 'object') throw new TemplateError(`range can't iterate over ${goText(value)}`);
  const sorted = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return sorted.map(([key, one]) => [key, { value: one, name: key }]);
}

function declare(run: Run, name: string | undefined, value: Value): void {
  if (name !== undefined) run.scopes.at(-1)?.set(name, value);
}

function evalPipe(run: Run, pipe: Pipe, dot: Value): Value {
  let last: Value | undefined;
  for (const command of pipe.commands) last = evalCommand(run, command, { dot, last });
  const value = last ?? { value: undefined, name: '' };
  if (pipe.declare.length === 1 && pipe.declare[0] !== undefined) {
    const scope = pipe.assign ? run.scopes.findLast((one) => one.has(pipe.declare[0] ?? '')) : run.scopes.at(-1);
    scope?.set(pipe.declare[0], value);
  }
  return value;
}

type Around = { dot: Value; last?: Value | undefined };

function evalCommand(run: Run, command: readonly Expr[], around: Around): Value {
  const [head, ...rest] = command;
  if (head === undefined) throw new TemplateError('template: missing command');
  if (head.kind === 'call') return evalCall(run, { name: head.name, at: head.at, args: rest }, around);
  const value = evalExpr(run, head, around.dot);
  const args = rest.map((one) => evalExpr(run, one, around.dot).value);
  if (around.last !== undefined) args.push(around.last.value);
  if (typeof value.value === 'function') return { value: value.value(...args), name: '' };
  if (args.length > 0) throw at(run, head, `can't give argument to non-function ${describe(head)}`);
  return value;
}

function evalCall(run: Run, call: { name: string; at: number; args: readonly Expr[] }, around: Around): Value {
  if (call.name === 'and' || call.name === 'or') {
    let value: Value = { value: undefined, name: '' };
    for (const arg of call.args) {
      value = evalExpr(run, arg, around.dot);
      if (isTruthy(value.value) === (call.name === 'or')) return value;
    }
    return around.last ?? value;
  }
  const args = call.args.map((one) => evalExpr(run, one, around.dot).value);
  if (around.last !== undefined) args.push(around.last.value);
  const done = FUNCTIONS[call.name];
  if (done === undefined) throw new TemplateError(`template: :1: function ${JSON.stringify(call.name)} not defined`);
  try {
    return { value: done(...args), name: '' };
  } catch (error) {
    if (!(error instanceof TemplateError) || error.message.startsWith('template:')) throw error;
    throw new TemplateError(`${place(run, call.at)} executing "" at <${call.name}>: ${error.message}`);
  }
}

function evalExpr(run: Run, expr: Expr, dot: Value): Value {
  switch (expr.kind) {
    case 'dot':
      return dot;
    case 'literal':
      return { value: expr.value, name: '' };
    case 'field':
      return follow(run, { from: dot, expr, names: expr.names });
    case 'variable': {
      const found = run.scopes.findLast((one) => one.has(expr.name))?.get(expr.name);
      if (found === undefined) throw new TemplateError(`template: :1: undefined variable ${JSON.stringify(expr.name)}`);
      return follow(run, { from: found, expr, names: expr.names });
    }
    case 'call':
      return evalCall(run, { name: expr.name, at: expr.at, args: [] }, { dot });
    case 'pipe':
      return evalPipe(run, expr.pipe, dot);
    case 'chain':
      return follow(run, { from: evalExpr(run, expr.of, dot), expr, names: expr.names });
  }
}

function follow(run: Run, walk: { from: Value; expr: Expr; names: readonly string[] }): Value {
  let here = walk.from;
  for (const name of walk.names) {
    const { value } = here;
    if (value === null || value === undefined) throw at(run, walk.expr, `nil pointer evaluating interface {}.${name}`);
    if (typeof value === 'object' && name in value)
      here = { value: (value as Readonly<Record<string, unknown>>)[name], name };
    else if (typeof value === 'object' && isMap(here.name)) here = { value: undefined, name };
    else {
      const fail = (why: string): never => {
        throw at(run, walk.expr, why);
      };
      if (typeof value !== 'object') fail(`can't evaluate field ${name} in type ${typeof value}`);
      here = { value: run.missing(name, fail), name };
    }
  }
  return here;
}

function describe(expr: Expr): string {
  if (expr.kind === 'field') return `.${expr.names.join('.')}`;
  if (expr.kind === 'variable') return [expr.name, ...expr.names].join('.');
  return expr.kind === 'literal' ? expr.raw : '.';
}

function place(run: Run, offset: number): string {
  const before = run.text.slice(0, offset);
  return `template: :${before.split('\n').length}:${Buffer.byteLength(before.slice(before.lastIndexOf('\n') + 1))}:`;
}

function at(run: Run, expr: Expr, why: string): TemplateError {
  return new TemplateError(`${place(run, 'at' in expr ? expr.at : 0)} executing "" at <${describe(expr)}>: ${why}`);
}
