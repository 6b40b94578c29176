//! Whatever somebody says, in whichever order.

use proptest::prelude::*;

use super::super::hostile;

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, // what is found goes into the table below
        ..ProptestConfig::with_cases(if cfg!(debug_assertions) { 100 } else { 5000 })
    })]
    #[test]
    fn nothing_said_breaks_the_ring(bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
        hostile::run(&bytes);
    }
}

/// What chance has found once: lists that took everybody down together, when the one who had invented them fell silent.
#[rustfmt::skip]
const DOMINOES: &[u8] = &[3, 0, 1, 0, 0, 173, 120, 0, 0, 0, 0, 0, 0, 0, 163, 0, 27, 0, 120, 0, 18, 0, 19, 181, 105, 0, 220, 91, 0, 217, 0, 0, 80, 0, 0, 3, 0, 27, 0, 0, 43, 50, 99, 0, 120, 0, 75, 181, 25, 0, 0, 216, 0, 103, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn histories_that_went_wrong() {
    hostile::run(DOMINOES);
}
