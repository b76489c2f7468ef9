// The HTTP status of every error code. A new code does not compile until it has one. Source: moby api/swagger.yaml, v1.50.
import type { Code } from '../base/errors.ts';

export const STATUS = {
  bad_parameter: 400,
  conflict: 409,
  container_not_found: 404,
  container_not_running: 409,
  exec_not_found: 404,
  helper_refused: 403,
  helper_unavailable: 503,
  image_in_use: 409,
  image_invalid: 400,
  image_not_found: 404,
  internal: 500,
  launch_failed: 500,
  name_in_use: 409,
  no_descriptors: 500,
  no_space: 500,
  not_executable: 400,
  not_implemented: 501,
  program_not_found: 400,
  registry: 500,
  store_damaged: 500,
  unauthorized: 401,
} satisfies Record<Code, number>;
