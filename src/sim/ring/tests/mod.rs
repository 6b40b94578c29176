//! What the ring's machine does among its like.

mod neighbours;
mod schedules;
