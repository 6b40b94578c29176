//! Where and when two nodes behind NATs meet.

use std::fmt;
use std::time::Duration;

use super::MAX_PORTS;
use super::words::number;

/// Between 1 and [`MAX_PORTS`] ports, none of them 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports(pub(super) Vec<u16>);

impl Ports {
    pub(crate) fn new(ports: impl IntoIterator<Item = u16>) -> Option<Self> {
        let ports: Vec<u16> = ports.into_iter().take(MAX_PORTS + 1).collect();
        let fine = (1..=MAX_PORTS).contains(&ports.len()) && !ports.contains(&0);
        fine.then_some(Self(ports))
    }

    /// The first of them.
    pub(crate) fn first(&self) -> u16 {
        // `new` and the parser let none through that is empty; 0 can not be dialled.
        self.0.first().copied().unwrap_or_default()
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, port) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{port}")?;
        }
        Ok(())
    }
}

/// The instant of a meeting: microseconds since 1970, on the wire decimal seconds with an optional fraction.
///
/// Not a float: those can not hold today's microseconds in all digits, nor be compared without traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ntp(pub(super) u64);

impl Ntp {
    /// Saturates, half a million years from now.
    pub(crate) fn from_unix(since_epoch: Duration) -> Self {
        Self(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) const fn since_unix(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// How far it lies from `wall`, ahead or behind.
    pub(crate) fn distance(self, wall: Duration) -> Duration {
        self.since_unix().abs_diff(wall)
    }

    /// Digits beyond the sixth after the point are dropped.
    pub(super) fn parse(word: &[u8]) -> Option<Self> {
        let (seconds, fraction) = match word.iter().position(|&byte| byte == b'.') {
            Some(point) => (&word[..point], &word[point + 1..]),
            None => (word, &b"0"[..]),
        };
        if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let micros = (0..6).fold(0, |sum, i| {
            let digit = fraction.get(i).map_or(0, |digit| digit - b'0');
            sum * 10 + u64::from(digit)
        });
        number(seconds)?.checked_mul(1_000_000)?.checked_add(micros).map(Self)
    }
}

impl fmt::Display for Ntp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if micros == 0 {
            return write!(f, "{seconds}");
        }
        let fraction = format!("{micros:06}");
        write!(f, "{seconds}.{}", fraction.trim_end_matches('0'))
    }
}
