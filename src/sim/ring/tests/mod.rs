//! What the ring's machine does among its like.

mod exhaustive;
mod neighbours;
mod schedules;
