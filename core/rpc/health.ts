// grpc.health.v1.Health: serving while this server answers. Source: github.com/grpc/grpc, doc/health-checking.md.
import { status } from '@grpc/grpc-js';
import { HealthCheckResponse_ServingStatus, type HealthServer } from '../../proto/gen/grpc/health/v1/health.ts';

const { SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

/** The empty name stands for the whole server. */
export function healthService(services: readonly string[]): HealthServer {
  const known = new Set(['', ...services]);
  return {
    check: ({ request }, answer) => {
      if (known.has(request.service)) answer(null, { status: SERVING });
      else answer({ code: status.NOT_FOUND, details: `unknown service ${request.service}` });
    },
    list: (_call, answer) => {
      answer(null, { statuses: Object.fromEntries([...known].map((name) => [name, { status: SERVING }])) });
    },
    // Nothing changes before the connection ends.
    watch: (call) => {
      call.write({ status: known.has(call.request.service) ? SERVING : SERVICE_UNKNOWN });
    },
  };
}
