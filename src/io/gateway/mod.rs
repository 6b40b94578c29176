//! Routers: carries out [`Order`](crate::gateway::Order)s, each on a thread of its own, because asking blocks.
//!
//! The crates that do the asking are made for programs that may wait; some routers make them wait for long, and some
//! made them panic. Here neither reaches the loop: a thread that hangs is left behind and counted, a panic is a report.
//! Without the feature `gateway` no order is carried out.

#[cfg(feature = "gateway")]
mod desk;
#[cfg(feature = "gateway")]
mod entry;
#[cfg(feature = "gateway")]
mod nat_pmp;
#[cfg(not(feature = "gateway"))]
mod off;
#[cfg(feature = "gateway")]
mod place;
#[cfg(feature = "gateway")]
mod proxy;
#[cfg(feature = "gateway")]
mod said;
#[cfg(feature = "gateway")]
mod upnp;

// The router in process needs 127.0.0.0/8 as a whole.
#[cfg(test)]
#[cfg(all(feature = "gateway", target_os = "linux"))]
#[path = "../../../tests/common/router/mod.rs"]
mod router;
#[cfg(test)]
#[cfg(all(feature = "gateway", target_os = "linux"))]
mod tests;

#[cfg(feature = "gateway")]
pub(crate) use desk::GatewayDesk;
#[cfg(not(feature = "gateway"))]
pub(crate) use off::GatewayDesk;
