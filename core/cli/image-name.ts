// Names of images as people write them. Source: distribution/reference, normalize.go.

/** `docker.io/library/busybox` is `busybox:latest` to people: domain and `library/` of the default registry left out, tag added. */
export function familiarName(name: string): string {
  const short = name.replace(/^(index\.)?docker\.io\//, '').replace(/^library\//, '');
  return short.includes('@') || /:[^/]*$/.test(short) ? short : `${short}:latest`;
}

/** Name and tag or digest apart, for the query of a pull; without either the tag is `latest`. */
export function splitName(name: string): { fromImage: string; tag: string } {
  const at = name.indexOf('@');
  if (at >= 0) return { fromImage: name.slice(0, at).replace(/:[^/:]*$/, ''), tag: name.slice(at + 1) };
  const colon = name.lastIndexOf(':');
  if (colon < 0 || name.indexOf('/', colon) >= 0) return { fromImage: name, tag: 'latest' };
  return { fromImage: name.slice(0, colon), tag: name.slice(colon + 1) };
}

/** The registry a name means. Its first part is a host if it has a dot or a port, or is localhost. */
export function registryOf(name: string): string {
  const [first = '', ...rest] = name.split('/');
  return rest.length > 0 && (/[.:]/.test(first) || first === 'localhost')
    ? first.replace(/^index\.docker\.io$/, 'docker.io')
    : 'docker.io';
}

/** `docker.io/library/busybox:1`: the whole name, as a pull ends with. */
export function fullName(name: string): string {
  const { fromImage, tag } = splitName(name);
  const registry = registryOf(fromImage);
  const path =
    registry === 'docker.io' ? fromImage.replace(/^(index\.)?docker\.io\//, '') : fromImage.slice(registry.length + 1);
  const whole = registry === 'docker.io' && !path.includes('/') ? `library/${path}` : path;
  return `${registry}/${whole}${tag.includes(':') ? '@' : ':'}${tag}`;
}
