//! NAT-PMP (RFC 6886 section 3).

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use super::{Mapping, NatPmp, Shared};

/// The answer to a datagram, if there is one. `is_first`: the sender has not been heard before.
pub(super) fn answer(
    datagram: &[u8],
    from: Ipv4Addr,
    is_first: bool,
    shared: &mut Shared,
) -> Option<Vec<u8>> {
    let behaviour = shared.behaviour.nat_pmp;
    let opcode = match *datagram {
        [0, 0] => {
            shared.counts.pmp_address += 1;
            0
        }
        [0, 2, _, _, _, _, _, _, 0, 0, 0, 0] => {
            shared.counts.pmp_unmap += 1;
            2
        }
        [0, 2, _, _, _, _, _, _, _, _, _, _] => {
            shared.counts.pmp_map += 1;
            2
        }
        _ => {
            shared.counts.pmp_unknown += 1;
            return None;
        }
    };
    let mut answer = vec![0, 128 + opcode, 0, 0, 0, 0, 0, 99];
    match behaviour {
        NatPmp::Silent => return None,
        NatPmp::Deaf if is_first => return None,
        NatPmp::ResultCode(code) => answer[2..4].copy_from_slice(&code.to_be_bytes()),
        _ => {}
    }
    // A request of another version is answered with the version that the router knows; this one knows PCP only.
    answer[0] = if behaviour == NatPmp::WrongVersion { 2 } else { 0 };
    if opcode == 0 {
        let IpAddr::V4(external) = shared.behaviour.external else { return None };
        answer.extend(external.octets());
    } else {
        answer.extend(map(datagram, from, behaviour, shared));
    }
    if let NatPmp::Truncated(len) = behaviour {
        answer.truncate(len);
    }
    Some(answer)
}

/// What follows the head of the answer to a mapping request.
fn map(datagram: &[u8], from: Ipv4Addr, behaviour: NatPmp, shared: &mut Shared) -> Vec<u8> {
    let port = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
    let (internal, mut external) = (port(4), port(6));
    let lease = u32::from(port(8)) << 16 | u32::from(port(10));
    let works = !matches!(behaviour, NatPmp::ResultCode(_) | NatPmp::WrongVersion);
    let leads_here = |mapping: &Mapping| mapping.internal == SocketAddrV4::new(from, internal);
    if works && lease == 0 {
        shared.table.retain(|_, mapping| !leads_here(mapping));
        external = 0;
    } else if works {
        if behaviour == NatPmp::OtherPort {
            external += 1;
        }
        while shared.table.get(&external).is_some_and(|mapping| !leads_here(mapping)) {
            external += 1;
        }
        let internal = SocketAddrV4::new(from, internal);
        shared.table.insert(external, Mapping { external, internal, lease, description: "NAT-PMP".into() });
    }
    let told = if behaviour == NatPmp::WrongPort { internal ^ 1 } else { internal };
    [&told.to_be_bytes()[..], &external.to_be_bytes()[..], &lease.to_be_bytes()[..]].concat()
}
