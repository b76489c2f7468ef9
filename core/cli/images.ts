// `berth images`. Source: docker/cli 28.2, cli/command/image/list.go and cli/command/formatter/image.go.
import type { ImageSummary } from '../spec/docker-api.ts';
import { decimalSize, humanDuration } from '../spec/units.ts';
import { type Given, isOn, listOf, textOf } from './command.ts';
import { readConfig } from './config.ts';
import { readFilters } from './filters.ts';
import { formatList, type Row, withJson } from './formatter.ts';
import { goTime } from './ps.ts';
import type { Session } from './session.ts';

const HEADERS: Row = {
  ID: 'IMAGE ID',
  Repository: 'REPOSITORY',
  Tag: 'TAG',
  Digest: 'DIGEST',
  CreatedSince: 'CREATED',
  CreatedAt: 'CREATED AT',
  Size: 'SIZE',
  Containers: 'CONTAINERS',
  VirtualSize: 'SIZE',
  SharedSize: 'SHARED SIZE',
  UniqueSize: 'UNIQUE SIZE',
};

/** Prints the images, a row for each name. */
export async function listImages(session: Session, given: Given): Promise<number> {
  const [name] = given.args;
  const filters = readFilters([...listOf(given, 'filter'), ...(name === undefined ? [] : [`reference=${name}`])]);
  const images = await (await session.client()).listImages({ all: isOn(given, 'all'), filters });
  const quiet = isOn(given, 'quiet');
  const digests = isOn(given, 'digests');
  const format = textOf(given, 'format') ?? (quiet ? '' : (readConfig(session.env).imagesFormat ?? ''));
  const byDigest = digests || /\{\{[^}]*\.Digest\b/.test(format);
  const how = { full: isOn(given, 'no-trunc'), now: Date.now(), byDigest };
  const rows = images.flatMap((image) => rowsOf(image, how)).map(withJson);
  if (quiet && (format === '' || format === 'table')) {
    session.stdout.write(rows.map((row) => `${row['ID']}\n`).join(''));
    return 0;
  }
  const digest = digests ? '\t{{if eq .Digest "" }}<none>{{else}}{{.Digest}}{{end}}' : '';
  const table = `{{.Repository}}\t{{if eq .Tag "" }}<none>{{else}}{{.Tag}}{{end}}${digest}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`;
  session.stdout.write(
    formatList({
      format: format === '' ? 'table' : format,
      table,
      headers: HEADERS,
      rows,
      goType: '*formatter.imageContext',
      blame: { parse: 'template parsing error', run: 'template parsing error' },
    }),
  );
  return 0;
}

/** A row per name of the image; with digests a row per name and digest; one of `<none>` when it has no name. */
function rowsOf(image: ImageSummary, how: { full: boolean; now: number; byDigest: boolean }): Row[] {
  const row = (Repository: string, Tag: string, Digest: string): Row => ({
    ...common(image, how),
    Repository,
    Tag,
    Digest,
  });
  const tags = (image.RepoTags ?? []).filter((tag) => tag !== '<none>:<none>').map(splitTag);
  const digests = (image.RepoDigests ?? []).map((one) => one.split('@') as [string, string]);
  if (tags.length === 0) {
    if (digests.length === 0) return [row('<none>', '<none>', '<none>')];
    return digests.map(([repository, digest]) => row(repository, '<none>', digest));
  }
  return tags.map(([repository, tag]) => {
    const digest = digests.find(([name]) => name === repository)?.[1] ?? '<none>';
    return row(repository, tag, how.byDigest || digest !== '' ? digest : '<none>');
  });
}

function splitTag(name: string): [string, string] {
  const colon = name.lastIndexOf(':');
  return colon < 0 || name.indexOf('/', colon) >= 0 ? [name, ''] : [name.slice(0, colon), name.slice(colon + 1)];
}

function common(image: ImageSummary, how: { full: boolean; now: number }): Row {
  const since = image.Created <= 0 ? 'N/A' : `${humanDuration(how.now - image.Created * 1000)} ago`;
  const counted = (value: number): string => (value === -1 ? 'N/A' : decimalSize(value));
  return {
    ID: how.full ? image.Id : image.Id.replace(/^sha256:/, '').slice(0, 12),
    CreatedSince: since,
    CreatedAt: goTime(image.Created),
    Size: decimalSize(image.Size),
    Containers: image.Containers === -1 ? 'N/A' : String(image.Containers),
    VirtualSize: decimalSize(image.Size, 4),
    SharedSize: counted(image.SharedSize),
    UniqueSize: image.SharedSize === -1 ? 'N/A' : decimalSize(image.Size - image.SharedSize),
  };
}
