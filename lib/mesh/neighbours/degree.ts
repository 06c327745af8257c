// How many mesh links a node should have. Five keep 95 % of the live nodes connected after half of all have died, three only
// a fifth; each further link is another copy of every record, and one more record when the node comes or goes.
//
// A link counts at both of its ends: where each node makes links until it has five, and accepts those of others beyond
// that, nodes have seven or eight.
//
// The number at which a node stops making links is far below the one from which it refuses them, and only a hub closes links
// for being too many: tight bounds make networks thrash.

import { MAX_RECORD_LINKS } from '../../wire/records.js';

/** A node that makes links by itself stops at this many... */
export const TARGET = 5;
/** ...and starts again below this. */
export const LOW = 4;
/** A node accepts links of any node below this, */
export const ACCEPT_ANY_BELOW = 8;
/** below this from a node that has one other link or none, */
export const ACCEPT_NEEDY_BELOW = 12;
/** and a hub, which new nodes dial, does so below this. */
export const HUB_ACCEPTS_NEEDY_BELOW = 64;
/**
 * A node without any other link is accepted below this. It would be outside of the network otherwise, and with one seed for
 * a thousand nodes that start at once, the others have no links to offer yet. The limit is what a record can announce: no
 * other node would learn of a link beyond that.
 */
export const ACCEPT_ISOLATED_BELOW = MAX_RECORD_LINKS;
/** Above this, links are shed to peers that have at least LOW others. */
export const SHED_ABOVE = ACCEPT_NEEDY_BELOW;

/** The number of links to nodes that this one has picked at random itself, so that nobody can surround it. */
export const RANDOM_PICKS = 2;
/**
 * The number of these that are replaced as soon as they are lost, whatever else there is. A replacement floods up to four
 * records, two for each link, so the others wait until a link is needed for the number, or is rotated.
 */
export const RANDOM_KEPT = 1;
/** The number of links to near nodes, which keep paths short. */
export const NEAR_PICKS = 2;

/** A client relays nothing; the third link is there so that the loss of a relay costs nothing. */
export const CLIENT_TARGET = 3;
/** Clients of one node. Each receives all records. */
export const MAX_CLIENTS = 256;
