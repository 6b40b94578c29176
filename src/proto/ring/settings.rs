//! What can be set, and why it is what it is.

use crate::wire::ring::LONGEST;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// r, the length of the successor list: 2 to 63. The ring holds as long as no r members in a row die between two
    /// repairs; at 16 that is one in 65,536 when half of all die at once.
    pub(crate) list: usize,
    /// A member stabilises once in that time, give or take half of it. The paper's is 30 s; at a third of that a ring
    /// mends three times as fast, for some 20 bytes a second and neighbour.
    pub(crate) stabilise_every: Duration,
    /// One finger is looked after in that time, give or take half: they only make look-ups short, so that they may be old.
    pub(crate) finger_every: Duration,
    /// One remembered member is asked for another ring in that time, give or take half.
    pub(crate) merge_every: Duration,
    /// A joiner tells its predecessor at once that it is there. Off only to show what it is worth.
    pub(crate) kick: bool,
    /// A look-up that has not ended by then has failed.
    pub(crate) look_up_within: Duration,
    /// A member waits at least so long for an answer: shorter than that the other's process may just not have been
    /// scheduled, and links that lose a packet repeat it after 200 ms at the earliest (RFC 6298 has 1 s, Linux 200 ms).
    pub(crate) shortest_wait: Duration,
    /// For an answer that decides who stays in a list it waits at least so long (RFC 6298's second): to go around somebody who is
    /// only slow costs a look-up nothing, to drop him costs a list one that lives, for a period.
    pub(crate) shortest_wait_for_neighbours: Duration,
    /// And at most so long.
    pub(crate) longest_wait: Duration,
    /// What it waits for somebody whose round trip it does not know.
    pub(crate) first_wait: Duration,
    /// Who did not answer is asked again after that time, and then after twice that ..
    pub(crate) probe_dead_after: Duration,
    /// .. up to this. It is forgotten after that.
    pub(crate) probe_dead_until: Duration,
    /// So many look-ups of others at once; more are turned away, and their senders go around. Each takes 200 bytes.
    pub(crate) max_relayed: usize,
    /// So many of them for one neighbour, so that it can not take them all.
    pub(crate) max_relayed_for_one: usize,
    /// So many look-ups of its own at once.
    pub(crate) max_look_ups: usize,
    /// So many members are remembered that are not in the ring with us (any more): a way to find a ring again.
    pub(crate) max_remembered: usize,
    /// So many that did not answer are kept in mind.
    pub(crate) max_suspects: usize,
    /// So many round trips are.
    pub(crate) max_round_trips: usize,
    #[cfg(test)]
    pub(crate) variant: super::variant::Variant,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            list: 16,
            stabilise_every: Duration::from_secs(10),
            finger_every: Duration::from_secs(30),
            merge_every: Duration::from_secs(60),
            kick: true,
            look_up_within: Duration::from_secs(15),
            shortest_wait: Duration::from_millis(200),
            shortest_wait_for_neighbours: Duration::from_secs(1),
            longest_wait: Duration::from_secs(3),
            first_wait: Duration::from_secs(1),
            probe_dead_after: Duration::from_secs(60),
            probe_dead_until: Duration::from_secs(960),
            max_relayed: 256,
            max_relayed_for_one: 64,
            max_look_ups: 64,
            max_remembered: 32,
            max_suspects: 32,
            max_round_trips: 32,
            #[cfg(test)]
            variant: super::variant::Variant::default(),
        }
    }
}

impl Settings {
    /// r, within what the machine can keep.
    pub(super) fn longest_list(&self) -> usize {
        self.list.clamp(1, LONGEST - 1)
    }
}
