//! How far it is, told on standard error every tenth of the way.

pub(crate) struct Percent {
    size: u64,
    told: u64,
}

impl Percent {
    pub(crate) fn of(size: u64) -> Self {
        Self { size, told: 0 }
    }

    pub(crate) fn tell(&mut self, done: &str, bytes: u64) {
        let percent = if self.size == 0 { 100 } else { u128::from(bytes) * 100 / u128::from(self.size) };
        let tenth = u64::try_from(percent).unwrap_or(100) / 10 * 10;
        if tenth > self.told {
            self.told = tenth;
            eprintln!("file_send: {done} {tenth} %");
        }
    }
}
