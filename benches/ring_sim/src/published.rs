//! Figures that ours stand beside: of Chord's papers, and of re-runs of their experiments with a simulator that shares no
//! code with this one.

/// Forwards from the origin to the owner's predecessor in an ideal ring of 2^exponent members at random places.
pub struct Forwards {
    pub exponent: u32,
    /// With fingers only: mean, p1, p50, p99, largest.
    pub fingers: (f64, [usize; 4]),
    /// With lists of 20, any of whose intervals ends the look-up.
    pub lists: f64,
}

pub const FORWARDS: [Forwards; 7] = [
    Forwards { exponent: 3, fingers: (1.40, [0, 1, 3, 4]), lists: 0.12 },
    Forwards { exponent: 6, fingers: (2.84, [0, 3, 5, 7]), lists: 0.86 },
    Forwards { exponent: 8, fingers: (3.86, [1, 4, 7, 10]), lists: 1.85 },
    Forwards { exponent: 10, fingers: (4.86, [1, 5, 8, 11]), lists: 2.85 },
    Forwards { exponent: 12, fingers: (5.85, [2, 6, 10, 13]), lists: 3.85 },
    Forwards { exponent: 14, fingers: (6.86, [3, 7, 11, 14]), lists: 4.85 },
    Forwards { exponent: 17, fingers: (8.36, [4, 8, 13, 17]), lists: 6.34 },
];

/// How the forwards are distributed at 2^12, from 0 on: with fingers only, and with lists of 20.
pub const DISTRIBUTION: [[f64; 13]; 2] = [
    [0.0003, 0.0029, 0.0174, 0.0580, 0.1305, 0.2050, 0.2339, 0.1904, 0.1091, 0.0416, 0.0098, 0.0011, 0.0001],
    [0.0048, 0.0380, 0.1229, 0.2354, 0.2768, 0.2054, 0.0929, 0.0222, 0.0016, 0.0, 0.0, 0.0, 0.0],
];

/// Keys a member, 10^4 members with that many virtual ones each, 10^6 keys: p1, p99, largest.
pub const LOAD: [(usize, [usize; 3]); 5] =
    [(1, [1, 461, 834]), (2, [6, 335, 556]), (5, [24, 234, 374]), (10, [39, 190, 274]), (20, [52, 165, 226])];

/// ToN 2003, Table II: N = 1000, r = 20, a part of the members fails at once. As recalled; the re-run is the bound.
pub struct MassFailure {
    pub failed: f64,
    pub path: (f64, [usize; 2]),
    pub timeouts: (f64, [usize; 2]),
    pub re_run: (f64, f64),
}

pub const MASS_FAILURE: [MassFailure; 6] = [
    MassFailure { failed: 0.0, path: (3.84, [2, 5]), timeouts: (0.0, [0, 0]), re_run: (3.83, 0.0) },
    MassFailure { failed: 0.1, path: (4.03, [2, 6]), timeouts: (0.60, [0, 2]), re_run: (4.01, 0.45) },
    MassFailure { failed: 0.2, path: (4.22, [2, 6]), timeouts: (1.17, [0, 3]), re_run: (4.19, 1.01) },
    MassFailure { failed: 0.3, path: (4.44, [2, 6]), timeouts: (2.02, [0, 5]), re_run: (4.44, 1.91) },
    MassFailure { failed: 0.4, path: (4.69, [2, 7]), timeouts: (3.23, [0, 8]), re_run: (4.77, 3.16) },
    MassFailure { failed: 0.5, path: (5.09, [3, 8]), timeouts: (5.10, [0, 11]), re_run: (5.21, 5.15) },
];

/// ToN 2003, Table III: N = 1000, r = 20, so many joins and so many leaves a second. As recalled.
pub struct Churn {
    pub rate: f64,
    pub path: (f64, [usize; 2]),
    pub timeouts: (f64, [usize; 2]),
    /// Of 10,000.
    pub failures: f64,
    /// Of 10,000 in the re-run, whose owners do not name their predecessors: without the join kick, when they crash.
    pub re_run: f64,
}

pub const CHURN: [Churn; 8] = [
    Churn { rate: 0.05, path: (3.90, [1, 9]), timeouts: (0.05, [0, 2]), failures: 0.0, re_run: 11.0 },
    Churn { rate: 0.10, path: (3.83, [1, 9]), timeouts: (0.11, [0, 2]), failures: 0.0, re_run: 18.0 },
    Churn { rate: 0.15, path: (3.84, [1, 9]), timeouts: (0.16, [0, 2]), failures: 2.0, re_run: 25.0 },
    Churn { rate: 0.20, path: (3.81, [1, 9]), timeouts: (0.23, [0, 3]), failures: 5.0, re_run: 28.0 },
    Churn { rate: 0.25, path: (3.83, [1, 9]), timeouts: (0.30, [0, 3]), failures: 6.0, re_run: 49.0 },
    Churn { rate: 0.30, path: (3.91, [1, 9]), timeouts: (0.34, [0, 4]), failures: 8.0, re_run: 64.0 },
    Churn { rate: 0.35, path: (3.94, [1, 10]), timeouts: (0.42, [0, 4]), failures: 16.0, re_run: 61.0 },
    Churn { rate: 0.40, path: (4.06, [1, 10]), timeouts: (0.46, [0, 5]), failures: 15.0, re_run: 76.0 },
];
