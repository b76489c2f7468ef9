import { describe, expect, test } from 'vitest';
import { planContainer } from '../../../core/plan/container.ts';
import { baseFacts, intent } from '../../cases/load.ts';

const plan = (body: Record<string, unknown>) => planContainer(intent(body), baseFacts());
const endpoint = (settings: Record<string, unknown>, name = 'none') => ({
  HostConfig: { NetworkMode: 'none' },
  NetworkingConfig: { EndpointsConfig: { [name]: settings } },
});

describe('checkEndpoints()', () => {
  test.each([
    [endpoint({ IPAMConfig: { IPv4Address: '192.0.2.1' } }), 'user specified IP address is supported on user defined'],
    [endpoint({ Aliases: ['a'] }), 'network-scoped alias is supported only for containers in user defined networks'],
    [endpoint({ Links: ['a:b'] }), 'links: networks other than none'],
    [endpoint({ MacAddress: '02:00:00:00:00:01' }), '--mac-address: networks other than none'],
    [{ MacAddress: '02:00:00:00:00:01' }, '--mac-address: networks other than none'],
    [
      { HostConfig: { NetworkMode: 'none' }, NetworkingConfig: { EndpointsConfig: { none: {}, host: {} } } },
      'network host: one network at most',
    ],
  ])('%j is refused', (body, message) => {
    expect(() => plan(body)).toThrow(message);
  });

  test.each([
    [endpoint({})],
    [endpoint({ IPAMConfig: {}, Aliases: [], DNSNames: null })],
    [{ NetworkingConfig: { EndpointsConfig: null } }],
  ])('%j asks for nothing', (body) => {
    expect(plan(body).warnings).toEqual([]);
  });
});

describe('checkHealth()', () => {
  test('says that nothing is checked yet', () => {
    expect(plan({ Healthcheck: { Test: ['CMD', 'true'] } }).warnings).toEqual([
      'health checks are not run yet: the container has no health',
    ]);
    expect(plan({ Healthcheck: { Test: ['NONE'] } }).warnings).toEqual([]);
  });

  test.each([
    [{ Interval: 1000 }, 'Interval in Healthcheck cannot be less than 1ms'],
    [{ StartPeriod: -1 }, 'StartPeriod in Healthcheck cannot be less than 1ms'],
    [{ Retries: -1 }, 'Retries in Healthcheck cannot be negative'],
  ])('%j is refused', (health, message) => {
    expect(() => plan({ Healthcheck: health })).toThrow(message);
  });
});
