//! What the ring's machine does among its like.

mod schedules;
