// docker-py, the Python client of docker-compose 1 and many tools, against an instance: what its calls give.
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { busybox, root, suite } from '../kit/need.ts';
import { runProgram, startInstance } from './kit.ts';

const dockerPy = {
  reason: 'needs docker-py (Debian package python3-docker)',
  met: () => spawnSync('python3', ['-c', 'import docker'], { stdio: 'ignore' }).status === 0,
};

suite('docker-py', [root, busybox, dockerPy], () => {
  test('its calls give what they give with Docker', () => {
    using berth = startInstance();
    const script = new URL('python/docker_py.py', import.meta.url).pathname;
    const done = runProgram('python3', [script, berth.host.replace('unix://', '')], { env: process.env });
    expect(done.err.split('\n').filter((line) => /Error|Traceback/.test(line))).toEqual([]);
    expect(JSON.parse(done.out)).toEqual({
      ping: true,
      run: 'hi\n',
      'container error': [4, 'e\n'],
      list: ['py1'],
      exec: 5,
      'exec demux': ['o\n', 'e\n'],
      'exec stream': ['a\n', 'b\n'],
      'exec socket': [1, 0, 0, 0, 0, 0, 0, 6, ...Buffer.from('typed\n')],
      'not found': ['No such container: 1111', 404],
      'image not found': 'No such image: gone:1',
      create: [['Id', 'Warnings'], []],
      entrypoint: ['/bin/sh'],
      nothing: [null, null, null],
      wait: { Error: null, StatusCode: 0 },
      'logs stream': ['1\n', '2\n', '3\n'],
      events: true,
    });
    expect(berth.berth(['ps', '-aq']).out).toBe('');
  }, 120_000);
});
