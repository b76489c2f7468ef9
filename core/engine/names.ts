// Names for containers nobody named: an adjective and somebody who moved people, goods or messages over water, rails and wires.
import { randomInt } from 'node:crypto';

const ADJECTIVES =
  'able agile amber ample arctic autumn bold brave breezy bright brisk calm candid clear clever coastal cobalt copper cosy crisp daring deft eager early earnest even fair fleet fond frank free fresh gentle glad golden grand green hardy hearty honest humble ivory jolly keen kind level light lively loyal lucid lucky mellow merry mild mindful modest neat nimble noble northern open patient plain placid polite prime proud prudent quick quiet rapid ready robust rustic safe sandy serene silver simple sleek smooth snowy solid southern spry steady stout sunny swift tidal tidy trim trusty upbeat vivid warm western wise witty';
const SURNAMES =
  'amundsen anning barents bering blyth bouvet brunel cabot cartier clerke cook cousteau dampier davis drake earhart ellms erikson flinders franklin frobisher fulton gama gjoa hadley halley harrison heyerdahl hopper hudson hutton irvine jansz joliet kellett knox krusenstern lamarr lander laperouse lovelace maclean magellan marconi maury mawson mclean mercator morse nansen noether nordenskjold ohm ortelius palmer parry pytheas ptolemy pinzon quiros radisson raleigh ross rutter sabine savery scoresby selkirk shackleton slocum spilhaus stephenson sverdrup tabei tasman telford tharp torres trevithick turing urdaneta vancouver verrazzano vespucci wallis watt weddell wegener wilkes worsley wright yeager zheng';

/** `[a-zA-Z0-9][a-zA-Z0-9_.-]+`. Source: moby daemon/names. */
export const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** A name that is not taken; after many tries with a number at its end. */
export function makeName(taken: (name: string) => boolean): string {
  const adjectives = ADJECTIVES.split(' ');
  const surnames = SURNAMES.split(' ');
  for (let tries = 0; ; tries++) {
    const name = `${adjectives[randomInt(adjectives.length)]}_${surnames[randomInt(surnames.length)]}`;
    const full = tries < 8 ? name : `${name}${randomInt(10 ** Math.min(9, tries - 7))}`;
    if (!taken(full)) return full;
  }
}
