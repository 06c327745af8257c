// How many mesh links a node should have. Five keep 95 % of the live nodes together after half of all have died, three
// only a fifth; each link more is another copy of every record, and one record more when the node comes or goes.
//
// A link counts at both of its ends: where each node makes links until it has five, and takes those of others beyond
// that, they have seven or eight.
//
// Between the number at which a node stops to make links and that from which it refuses them there is a wide gap, and no
// link is closed for being one too many but at a hub: tight bounds and culling make networks thrash.

import { MAX_RECORD_LINKS } from '../../wire/records.js';

/** A node that makes links by itself stops at this many... */
export const TARGET = 5;
/** ...and begins anew below this. */
export const LOW = 4;
/** Links of others are taken by any node below this, */
export const TAKES_ALL_BELOW = 8;
/** below this from a node that has one other link or none, */
export const TAKES_NEEDY_BELOW = 12;
/** and by a hub, a node that newcomers are sent to, below this. */
export const HUB_TAKES_NEEDY_BELOW = 64;
/**
 * A node with no other link at all is taken below this: it would be outside of the network otherwise, and with one seed
 * for a thousand nodes that start at once the others have no links to offer yet. No more than can be announced: of the rest
 * nobody else would learn that it is there.
 */
export const TAKES_LONELY_BELOW = MAX_RECORD_LINKS;
/** Above that, links are shed to peers that have at least LOW others. */
export const SHED_ABOVE = TAKES_NEEDY_BELOW;

/** So many of those that it makes go to nodes that it has picked at random itself: nobody can surround it. */
export const RANDOM_PICKS = 2;
/**
 * So many of these it has whatever else there is, and replaces them as soon as they are lost. That is up to four records
 * to everybody, two for the link that goes and two for the one that comes, so the others wait until a link is needed for
 * the number, or is rotated.
 */
export const RANDOM_KEPT = 1;
/** So many of those it makes go to near nodes, for short ways. */
export const NEAR_PICKS = 2;

/** A client carries nothing on: the third link is there so that the loss of a relay costs nothing. */
export const CLIENT_TARGET = 3;
/** Clients of one node. Each receives the whole gossip. */
export const MAX_CLIENTS = 256;
