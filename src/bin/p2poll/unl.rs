//! `p2poll unl TEXT`

use p2poll::{Oddity, Place, Unl, UnlAddress, UnlError};
use serde_json::{Value, json};

use crate::Failure;
use crate::arguments::UnlOptions;
use crate::output::{Output, Plain, nat_json};

pub(crate) fn run(options: &UnlOptions) -> Result<(), Failure> {
    // The reason names no more of the text than one character, which it shows harmlessly.
    let unl: Unl = options.text.parse().map_err(|why: UnlError| Failure::Run(why.to_string()))?;
    let mut output = if options.json { Output::json() } else { Output::plain(Plain::default()) };
    Ok(output.report(|| to_json(&unl), || unl.describe())?)
}

/// With the fields in the order in which the help names them.
fn to_json(unl: &Unl) -> Value {
    json!({
        "event": "unl",
        "unl": unl.as_str(),
        "version": unl.version(),
        "node_id": unl.node_id().map(|id| id.to_string()),
        "claimed_id": unl.claimed_id().map(|id| id.to_string()),
        "key": unl.public_key().map(|key| key.to_string()),
        "node_type": unl.node_type().to_string(),
        "nat": nat_json(unl.nat()),
        "forwarding": unl.forwarding().to_string(),
        "addresses": unl.addresses().map(address_json).collect::<Vec<_>>(),
        "servers": unl.servers().collect::<Vec<_>>(),
        "skipped": unl.skipped(),
    })
}

fn address_json(address: UnlAddress) -> Value {
    let place = match address.place {
        Place::Lan => "lan",
        _ => "wan",
    };
    let odd = address.oddity().map(|odd| match odd {
        Oddity::NoPort => "no port",
        Oddity::NoHost => "no host",
        Oddity::Loopback => "loopback",
        Oddity::LinkLocal => "link-local",
        _ => "private",
    });
    json!({ "place": place, "addr": address.addr.to_string(), "odd": odd })
}
