//! The cells of the table: who connects to whom, and what is to come of it.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::attempt::{Attempt, End};
use crate::lab::{Filter, Mapping, Nat, Need};

/// From one site to the other and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(50);
/// What programs, pipes and two cores may add to one attempt, besides the time for which the machine was seen to stand still.
const MACHINE: Duration = Duration::from_millis(50);

/// Where one end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// It has a public address.
    Public,
    Home(Nat, Filter),
    /// Behind a preserving router that forwards its port, which its owner has told it to.
    Forwarded,
    /// Behind a preserving router that can be asked to.
    Mappable(Mapping),
    /// Behind a preserving router behind a carrier's of this kind.
    Carrier(Nat),
}

/// Where both ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Apart(Site, Site),
    /// In one house.
    SameLan {
        nat: Nat,
        hairpin: bool,
    },
    /// On one machine.
    SameHost(Site),
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) layout: Layout,
    /// Otherwise they take turns in connecting.
    pub(crate) first_connects: bool,
    /// By so much one side's signals come later than they would; each side's in turn.
    pub(crate) skew: Duration,
    /// Neighbours behind both routers connect to somewhere all the time, which takes ports.
    pub(crate) busy: bool,
    pub(crate) goal: Goal,
}

/// What a cell is to reach.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    /// As events call them.
    pub(crate) ways: &'static [&'static str],
    pub(crate) share: Share,
    pub(crate) within: Within,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    All,
    /// At least 95 of 100; the rest is relayed.
    Most,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// No attempt takes longer.
    Each(Duration),
    /// As many round trips as the network itself takes: half of them no longer than that, and none much longer.
    Trips(u32),
    /// Half of them take no longer than so many round trips, and what the signals are late.
    Median(u32),
}

/// All of them; `full`: not only a sample of those where filters and delays of signals are combined.
pub(crate) fn all(full: bool) -> Vec<Cell> {
    [open_sides(), punched(full), deltas(), unpredictable(), together()].concat()
}

/// One side is public, or its port is open.
fn open_sides() -> Vec<Cell> {
    let open =
        [Site::Public, Site::Forwarded, Site::Mappable(Mapping::Upnp), Site::Mappable(Mapping::NatPmp)];
    let others = [
        Site::Public,
        Site::Home(Nat::Preserving, Filter::Drop),
        Site::Home(Nat::Reuse, Filter::Reject),
        Site::Home(Nat::Random, Filter::Drop),
        Site::Carrier(Nat::Random),
    ];
    let mut cells = Vec::new();
    for open in open {
        for other in others {
            let way: &[_] = if matches!(open, Site::Mappable(_)) { &["mapped"] } else { &["direct"] };
            let at_once = Goal::all(way, Within::Trips(3));
            cells.push(Cell::new(Layout::Apart(other, open), at_once).first_connects());
            if open == other {
                continue;
            }
            let goal = match other {
                Site::Public => Goal::all(&["direct"], Within::Trips(3)),
                // The signal itself takes one round trip: half of one to the server, and as much from there.
                _ => Goal::all(&["reverse"], Within::Trips(4)),
            };
            cells.push(Cell::new(Layout::Apart(open, other), goal).first_connects());
        }
    }
    cells
}

/// Both sides have ports that can be foretold, whatever their routers do with strangers, and however late signals are.
fn punched(full: bool) -> Vec<Cell> {
    const FILTERS: [Filter; 3] = [Filter::Drop, Filter::Reject, Filter::Open];
    const SKEWS: [u64; 4] = [0, 40, 100, 500];
    let kinds = [(Nat::Preserving, Nat::Preserving), (Nat::Preserving, Nat::Reuse), (Nat::Reuse, Nat::Reuse)];
    let mut cells = Vec::new();
    for (left, right) in kinds {
        for (late, skew) in SKEWS.into_iter().enumerate() {
            for (first, filter) in FILTERS.into_iter().enumerate() {
                // As in a Latin square: with every pair of kinds each side has every filter with every delay, and each
                // filter meets each.
                let sampled = (first + late) % FILTERS.len();
                for (second, other) in FILTERS.into_iter().enumerate() {
                    if !full && second != sampled {
                        continue;
                    }
                    let layout = Layout::Apart(Site::Home(left, filter), Site::Home(right, other));
                    let goal = Goal::all(&["punched"], Within::Median(8));
                    cells.push(Cell { skew: Duration::from_millis(skew), ..Cell::new(layout, goal) });
                }
            }
        }
    }
    cells
}

/// One side's ports, or both sides', go on by a step.
fn deltas() -> Vec<Cell> {
    let home = |nat| Site::Home(nat, Filter::Drop);
    let steps = [Nat::Delta(1), Nat::Delta(7), Nat::Delta(3_u16.wrapping_neg())];
    let mut pairs = Vec::new();
    for delta in steps {
        pairs.extend([Nat::Preserving, Nat::Reuse].map(|other| (delta, other)));
    }
    pairs.extend([(steps[0], steps[0]), (steps[1], steps[2]), (steps[2], steps[0])]);
    let cell = |(left, right), busy| {
        let goal = Goal { ways: &["punched"], share: Share::Most, within: Within::Each(RELAYED) };
        Cell { busy, ..Cell::new(Layout::Apart(home(left), home(right)), goal) }
    };
    pairs.into_iter().flat_map(|pair| [false, true].map(|busy| cell(pair, busy))).collect()
}

/// However long a connection may take that has to go through a relay.
const RELAYED: Duration = Duration::from_secs(5);

/// Nobody can foretell a port, so that it has to be a relay.
fn unpredictable() -> Vec<Cell> {
    let home = |nat| Site::Home(nat, Filter::Drop);
    let pairs = [
        (home(Nat::Random), home(Nat::Preserving)),
        (home(Nat::Random), home(Nat::Random)),
        (home(Nat::Random), home(Nat::Delta(7))),
        (Site::Carrier(Nat::Random), home(Nat::Preserving)),
        (Site::Carrier(Nat::Random), Site::Carrier(Nat::Random)),
    ];
    let goal = Goal::all(&["relayed"], Within::Each(RELAYED));
    pairs.map(|(left, right)| Cell::new(Layout::Apart(left, right), goal.clone())).into()
}

/// Both are in the same house, or on the same machine: nothing goes through the router.
fn together() -> Vec<Cell> {
    let layouts = [
        Layout::SameLan { nat: Nat::Preserving, hairpin: false },
        Layout::SameLan { nat: Nat::Reuse, hairpin: false },
        Layout::SameLan { nat: Nat::Reuse, hairpin: true },
        Layout::SameHost(Site::Home(Nat::Preserving, Filter::Drop)),
        Layout::SameHost(Site::Public),
    ];
    let goal = Goal::all(&["lan"], Within::Trips(3));
    layouts.map(|layout| Cell::new(layout, goal.clone())).into()
}

impl Cell {
    fn new(layout: Layout, goal: Goal) -> Cell {
        Cell { layout, first_connects: false, skew: Duration::ZERO, busy: false, goal }
    }

    fn first_connects(self) -> Cell {
        Cell { first_connects: true, ..self }
    }

    /// As in the table, and on the command line.
    pub(crate) fn name(&self) -> String {
        let arrow = if self.first_connects { "->" } else { "<>" };
        let mut name = match self.layout {
            Layout::Apart(left, right) => format!("{left} {arrow} {right}"),
            Layout::SameLan { nat, hairpin } => {
                let hairpin = if hairpin { "with" } else { "without" };
                format!("same LAN, {} {hairpin} hairpin", nat_name(nat))
            }
            Layout::SameHost(site) => format!("same host, {site}"),
        };
        if let Layout::Apart(Site::Home(..), Site::Home(..)) = self.layout
            && self.goal.within == Within::Median(8)
        {
            name += &format!(", +{} ms", self.skew.as_millis());
        }
        name + if self.busy { ", busy" } else { "" }
    }

    /// The kind of pair that it is one of, for those who do not want to know each.
    pub(crate) fn kind(&self) -> &'static str {
        match (self.goal.ways, self.goal.share) {
            (["lan"], _) => "in the same LAN, or on the same host",
            (["relayed"], _) => "one side, or both, behind a random NAT or a random carrier's",
            (["punched"], Share::All) => "both behind preserving or reuse NATs, signals up to 500 ms late",
            (["punched"], Share::Most) => "one side, or both, behind a delta NAT, neighbours quiet or busy",
            _ => "one side public, forwarded or mapped",
        }
    }

    /// What it takes besides a network.
    pub(crate) fn needs(&self) -> Vec<Need> {
        let maps = |site: Site| matches!(site, Site::Mappable(_));
        match self.layout {
            Layout::Apart(left, right) if maps(left) || maps(right) => vec![Need::Program("miniupnpd")],
            _ => vec![Need::Network],
        }
    }

    /// What is wrong with an attempt, if anything is.
    pub(crate) fn misses(&self, attempt: &Attempt) -> Option<String> {
        let End::Connected { via, took } = &attempt.end else {
            return Some(attempt.end.to_string());
        };
        let ms = took.as_millis();
        if !self.goal.ways.contains(&via.as_str()) {
            return Some(format!("{via} after {ms} ms instead of {}", self.goal.ways.join(" or ")));
        }
        let limit = match self.goal.within {
            Within::Each(limit) => limit,
            Within::Trips(trips) => trips * ROUND_TRIP + MACHINE + 2 * attempt.stalled,
            // Much longer than that is told of by the median and the worst case.
            Within::Median(_) => return None,
        };
        let stalled = attempt.stalled.as_millis();
        (*took > limit)
            .then(|| format!("{via} after {ms} ms, of which this machine stood still for {stalled} ms"))
    }

    /// What half of the attempts have to keep to.
    pub(crate) fn median_limit(&self) -> Option<Duration> {
        match self.goal.within {
            Within::Each(_) => None,
            Within::Trips(trips) | Within::Median(trips) => Some(trips * ROUND_TRIP + self.skew),
        }
    }

    /// So many attempts may miss: where it is 95 of 100, one of 10 is not too many.
    pub(crate) fn may_miss(&self, attempts: usize) -> usize {
        match self.goal.share {
            Share::All => 0,
            Share::Most => attempts.div_ceil(20),
        }
    }
}

impl Goal {
    fn all(ways: &'static [&'static str], within: Within) -> Goal {
        Goal { ways, share: Share::All, within }
    }
}

impl Display for Goal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let share = if self.share == Share::Most { ", 95 %" } else { "" };
        write!(f, "{}{share}", self.ways.join("/"))?;
        match self.within {
            Within::Each(limit) => write!(f, ", each <= {} ms", limit.as_millis()),
            Within::Trips(trips) => write!(f, ", <= {trips} RT"),
            Within::Median(trips) => write!(f, ", median <= {trips} RT"),
        }
    }
}

impl Display for Site {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Site::Public => f.write_str("public"),
            Site::Home(nat, filter) => write!(f, "{}/{}", nat_name(*nat), filter_name(*filter)),
            Site::Forwarded => f.write_str("forwarded"),
            Site::Mappable(Mapping::Upnp) => f.write_str("UPnP"),
            Site::Mappable(Mapping::NatPmp) => f.write_str("NAT-PMP"),
            Site::Mappable(Mapping::Both) => f.write_str("mappable"),
            Site::Carrier(nat) => write!(f, "{} carrier", nat_name(*nat)),
        }
    }
}

fn nat_name(nat: Nat) -> String {
    match nat {
        Nat::Preserving => "preserving".into(),
        Nat::Random => "random".into(),
        Nat::Reuse => "reuse".into(),
        Nat::PerAddress => "per address".into(),
        Nat::Delta(step) => format!("delta {}", step.cast_signed()),
        Nat::ReuseDelta(step) => format!("reuse delta {}", step.cast_signed()),
    }
}

fn filter_name(filter: Filter) -> &'static str {
    match filter {
        Filter::Drop => "drop",
        Filter::Reject => "reject",
        Filter::Open => "open",
    }
}
