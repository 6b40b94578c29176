//! Routers: carries out [`Order`](crate::gateway::Order)s, each on a thread of its own, because asking blocks.
//!
//! Routers make who asks them wait for long, and answer whatever they like. Neither reaches the loop: a thread that
//! hangs is left behind and counted, a panic is a report. Without the feature `gateway` no order is carried out.
//!
//! UPnP from the outside in: `upnp` (the router, what it forwards), `entry` (its table), `soap` (one action), `ssdp` (the
//! search), `description` (its services), `http` and `xml` (what all that is written in).

#[cfg(feature = "gateway")]
mod description;
#[cfg(feature = "gateway")]
mod desk;
#[cfg(feature = "gateway")]
mod entry;
#[cfg(all(feature = "gateway", any(test, fuzzing)))]
pub(crate) mod hostile;
#[cfg(feature = "gateway")]
mod http;
#[cfg(feature = "gateway")]
mod nat_pmp;
#[cfg(not(feature = "gateway"))]
mod off;
#[cfg(feature = "gateway")]
mod place;
#[cfg(feature = "gateway")]
mod said;
#[cfg(feature = "gateway")]
mod soap;
#[cfg(feature = "gateway")]
mod ssdp;
#[cfg(feature = "gateway")]
mod upnp;
#[cfg(feature = "gateway")]
mod xml;

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
