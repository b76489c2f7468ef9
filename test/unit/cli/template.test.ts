// The template engine of --format: what Go's text/template gives for the same text, seen in docker 28.2.
import { expect, test } from 'vitest';
import { leftOut } from '../../../core/cli/go-value.ts';
import { readTemplate, runTemplate } from '../../../core/cli/template.ts';

const data = {
  ID: 'f3da50eb5ad9',
  Names: 'c2',
  Image: 'bb:1',
  State: { Status: 'running', Running: true, Pid: 5 },
  Env: ['A=b', 'C=d'],
  Labels: { z: '1', a: '2' },
  Networks: { n1: { IPAddress: '10.0.0.2' }, n0: { IPAddress: '' } },
  Nothing: null,
  Binds: null,
  Mounts: [{ Type: 'bind', Source: '/tmp', Destination: '/x', Mode: '', RW: true, Propagation: 'rslave' }],
  Label: (name: string) => `label ${name}`,
};

test.each([
  ['plain', 'plain'],
  ['{{.ID}}: {{.State.Pid}}', 'f3da50eb5ad9: 5'],
  ['{{json .Env}} {{.Env}}', '["A=b","C=d"] [A=b C=d]'],
  ['{{.State}}', '{running true 5 <nil>}'],
  ['{{.Labels.zzz}} {{index .Labels "zzz"}}|', '<no value> |'],
  ['{{.Labels}}', 'map[a:2 z:1]'],
  ['{{.Mounts}}', '[{bind  /tmp /x   true rslave}]'],
  ['{{.Binds}} {{.Nothing}}', '[] []'],
  [
    '{{pad .ID 2 3}}|{{truncate .ID 4}}|{{split .Image ":"}}|{{join (split .Image ":") "/"}}|{{title .Names}}',
    '  f3da50eb5ad9   |f3da|[bb 1]|bb/1|C2',
  ],
  ['{{println .ID}}x', 'f3da50eb5ad9\nx'],
  ['{{upper .Names}} {{.Names | upper | printf "%q"}}', 'C2 "C2"'],
  [
    '{{printf "%s-%d-%v %5s|%-5s|%05d %x %%" .Names .State.Pid .State.Running "a" "b" 7 255}}',
    'c2-5-true     a|b    |00007 ff %',
  ],
  ['{{index .Env 1}} {{index .Labels "a"}} {{(index .Mounts 0).Source}} {{len .Env}}', 'C=d 2 /tmp 2'],
  ['{{if .State.Running}}yes{{else}}no{{end}} {{if .Nothing}}yes{{else if eq 1 2}}two{{else}}no{{end}}', 'yes no'],
  ['{{range $i, $e := .Env}}{{$i}}={{$e}};{{end}}', '0=A=b;1=C=d;'],
  ['{{range $k, $v := .Networks}}{{$k}} {{$v.IPAddress}},{{end}}', 'n0 ,n1 10.0.0.2,'],
  ['{{range .Env}}{{.}} {{$.ID}}{{break}}{{end}}', 'A=b f3da50eb5ad9'],
  ['{{range .Env}}{{if eq . "A=b"}}{{continue}}{{end}}{{.}}{{end}}', 'C=d'],
  ['{{range .Binds}}x{{else}}none{{end}}', 'none'],
  ['{{with .State}}{{.Pid}}{{end}}{{with .Nothing}}x{{else}}y{{end}}', '5y'],
  ['{{with $x := .State.Pid}}{{$x}}{{end}}{{$y := "q"}}{{$y}}{{$y = "r"}}{{$y}}', '5qr'],
  ['a  {{- " b " -}}  c', 'a b c'],
  ['a{{/* nothing */}}b{{- /* nothing */ -}} c', 'abc'],
  ['{{`raw \\n`}} {{"a\\tb"}} {{\'A\'}}', 'raw \\n a\tb 65'],
  [
    '{{eq .State.Status "running"}} {{ne 1 2}} {{lt 1 2}} {{ge 2 3}} {{and true .ID}} {{or "" .Names}} {{not .Nothing}}',
    'true true true false f3da50eb5ad9 c2 true',
  ],
  ['{{.Label "k"}} {{"k" | .Label}}', 'label k label k'],
  ['{{slice .ID 1 3}} {{print 1 2 "x" 3}} {{html "<a>"}}', '3d 1 2x3 &#60;a&#62;'],
  ['{{true}} {{nil | json}} {{1.5}}', 'true null 1.5'],
])('runTemplate() of %s', (text, want) => {
  expect(runTemplate(readTemplate(text), data)).toBe(want);
});

test.each([
  ['{{.ID', 'template: :1: unclosed action'],
  ['{{nofunc .ID}}', 'template: :1: function "nofunc" not defined'],
  ['{{}}', 'template: :1: missing value for command'],
  ['{{if .ID}}x', 'template: :1: unexpected EOF'],
  ['{{end}}', 'template: :1: unexpected {{end}}'],
  ['x\n{{else}}', 'template: :2: unexpected {{else}}'],
  ['{{"x}}', 'template: :1: unterminated quoted string'],
  ['{{(.ID}}', 'template: :1: unclosed left paren'],
])('readTemplate() refuses %s', (text, why) => {
  expect(() => readTemplate(text)).toThrow(why);
});

test.each([
  ['{{.Foo}}', 'template: :1:2: executing "" at <.Foo>: no Foo'],
  ['{{json .ID}} {{.Config.ExposedPorts}}', 'template: :1:22: executing "" at <.Config.ExposedPorts>: no Config'],
  ['{{.State.Foo.Bar}}', 'template: :1:8: executing "" at <.State.Foo.Bar>: no Foo'],
  ['a\nb {{.Foo}}', 'template: :2:4: executing "" at <.Foo>: no Foo'],
  ['{{.ID.X}}', 'executing "" at <.ID.X>: can\'t evaluate field X in type string'],
  ['{{.ID 1}}', "can't give argument to non-function .ID"],
  ['{{index .Env 5}}', 'error calling index: index out of range: 5'],
])('runTemplate() fails in %s with the place', (text, why) => {
  expect(() => runTemplate(readTemplate(text), data, (name, fail) => fail(`no ${name}`))).toThrow(why);
});

test('fields that an answer leaves out when empty have their empty value', () => {
  const run = (text: string): string =>
    runTemplate(
      readTemplate(text),
      { Config: {}, State: {} },
      (name, fail) => leftOut(name) ?? (leftOut(name) === null ? null : fail('none')),
    );
  expect(run('{{.Config.ExposedPorts}} {{.State.Health}}')).toBe('map[] <nil>');
});
