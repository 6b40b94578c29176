//! What a router's table says of one external port.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::description::Service;
use super::soap::{self, Failure};
use super::xml::{self, Element};
use crate::reach::MappingFault;

/// Of a router that can not be asked for one entry, so many are looked at.
const ENTRIES: u32 = 128;

/// Where an external port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Nowhere,
    LeadsTo {
        /// `None`: the router names nobody, or in a way that can not be read: some show a name.
        client: Option<Ipv4Addr>,
        port: u16,
        /// What is left of it; `None`: for ever.
        lease: Option<Duration>,
        /// Empty, where the router has none or tells none.
        description: String,
    },
    /// The router does not say.
    Untold,
}

/// Asks where an external port leads: for this entry, and where the router does not know that question, for all.
pub(super) fn look_up(service: &Service, external: u16, patience: Duration) -> Result<Entry, MappingFault> {
    let begin = Instant::now();
    let external = external.to_string();
    let arguments = [("NewRemoteHost", ""), ("NewExternalPort", &*external), ("NewProtocol", "TCP")];
    match soap::call(service, "GetSpecificPortMappingEntry", &arguments, patience) {
        Ok(answer) => Ok(read(&answer)),
        // WANIPConnection:1 section 2.4.15: NoSuchEntryInArray.
        Err(Failure::Code(714, _)) => Ok(Entry::Nowhere),
        // It has answered, if not that.
        Err(Failure::Code(..) | Failure::Beside(_)) => Ok(search(service, &external, begin, patience)),
        Err(failure) => Err(failure.into()),
    }
}

fn search(service: &Service, external: &str, begin: Instant, patience: Duration) -> Entry {
    for index in 0..ENTRIES {
        let Some(left) = patience.checked_sub(begin.elapsed()) else { break };
        let index = index.to_string();
        let arguments = [("NewPortMappingIndex", &*index)];
        match soap::call(service, "GetGenericPortMappingEntry", &arguments, left) {
            Ok(entry) if is_at(&entry, external) => return read(&entry),
            Ok(_) => {}
            // WANIPConnection:1 section 2.4.14: SpecifiedArrayIndexInvalid, so these were all.
            Err(Failure::Code(713, _)) => return Entry::Nowhere,
            Err(_) => break,
        }
    }
    Entry::Untold
}

fn is_at(entry: &[Element], external: &str) -> bool {
    let is =
        |name, value: &str| xml::text_of(entry, name).is_some_and(|text| text.eq_ignore_ascii_case(value));
    is("NewExternalPort", external) && is("NewProtocol", "TCP")
}

/// What an answer says. A port that leads nowhere is an error to most, and an entry of empty or zero fields to some.
pub(super) fn read(answer: &[Element]) -> Entry {
    let text = |name| xml::text_of(answer, name).unwrap_or_default();
    let client: Option<Ipv4Addr> = text("NewInternalClient").parse().ok();
    let names_nobody =
        text("NewInternalClient").is_empty() || client.is_some_and(|client| client.is_unspecified());
    let port = text("NewInternalPort");
    let is_told = answer.iter().any(|(name, _)| name == "NewInternalPort" || name == "NewInternalClient");
    match port.parse() {
        Ok(0) if names_nobody => Entry::Nowhere,
        Err(_) if names_nobody && port.is_empty() && is_told => Entry::Nowhere,
        Ok(0) | Err(_) => Entry::Untold,
        Ok(port) => {
            let client = client.filter(|_| !names_nobody);
            let lease = text("NewLeaseDuration").parse().unwrap_or(0_u32);
            let lease = (lease != 0).then(|| Duration::from_secs(lease.into()));
            Entry::LeadsTo { client, port, lease, description: text("NewPortMappingDescription").to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &[(&str, &str)]) -> Entry {
        let elements: Vec<_> =
            fields.iter().map(|(name, text)| (format!("New{name}"), (*text).to_owned())).collect();
        read(&elements)
    }

    fn leads_to(client: Option<[u8; 4]>, port: u16, lease: Option<u64>, description: &str) -> Entry {
        let (client, lease) = (client.map(Ipv4Addr::from), lease.map(Duration::from_secs));
        Entry::LeadsTo { client, port, lease, description: description.into() }
    }

    #[test]
    fn entries() {
        let full = [
            ("InternalPort", "80"),
            ("InternalClient", "192.168.1.7"),
            ("PortMappingDescription", "web"),
            ("LeaseDuration", "60"),
        ];
        assert_eq!(entry(&full), leads_to(Some([192, 168, 1, 7]), 80, Some(60), "web"));
        assert_eq!(entry(&full[..2]), leads_to(Some([192, 168, 1, 7]), 80, None, ""));
        for nobody in ["", "0.0.0.0", "laptop", "fe80::1"] {
            let named = entry(&[("InternalPort", "80"), ("InternalClient", nobody)]);
            assert_eq!(named, leads_to(None, 80, None, ""), "{nobody}");
        }
    }

    #[test]
    fn free_ports() {
        for (port, client) in [("", ""), ("0", ""), ("0", "0.0.0.0"), ("", "0.0.0.0")] {
            let free = entry(&[("InternalPort", port), ("InternalClient", client), ("Enabled", "0")]);
            assert_eq!(free, Entry::Nowhere, "{port:?} {client:?}");
        }
        assert_eq!(entry(&[]), Entry::Untold);
        assert_eq!(entry(&[("InternalPort", "0"), ("InternalClient", "laptop")]), Entry::Untold);
        assert_eq!(entry(&[("InternalPort", "many"), ("InternalClient", "")]), Entry::Untold);
    }
}
