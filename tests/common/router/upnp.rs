//! UPnP's Internet Gateway Device 1: descriptions and actions (WANIPConnection:1, sections 2.4 and 2.5).

use std::net::{IpAddr, SocketAddr};

use super::http::{Request, answer};
use super::{Behaviour, ControlUrl, Leases, Mapping, Shared, Writing};

const SERVICE: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";

/// The answer to a request at this address.
pub(super) fn respond(request: &Request, at: SocketAddr, shared: &mut Shared) -> Vec<u8> {
    let (framing, writing) = (shared.behaviour.framing, shared.behaviour.writing);
    let answer = |status: &str, body: &str| answer(status, &written(body, writing), framing);
    let done = |action: &str, outcome: Result<String, u16>, is_eloquent| match outcome {
        Ok(arguments) => answer(
            "200 OK",
            &envelope(&format!("<u:{action}Response xmlns:u=\"{SERVICE}\">{arguments}</u:{action}Response>")),
        ),
        Err(code) => answer("500 Internal Server Error", &fault(code, is_eloquent)),
    };
    let (action, is_eloquent) = (request.action(), shared.behaviour.is_eloquent);
    let path = request.path();
    match path.as_str() {
        "/root.xml" => {
            shared.counts.description += 1;
            answer("200 OK", &description(at, &shared.behaviour))
        }
        "/ctl/wan" => done(&action, act(&action, request, shared), is_eloquent),
        path if dead(path, "/ctl/dead", &shared.behaviour).is_some() => {
            let external = dead(path, "/ctl/dead", &shared.behaviour);
            let outcome = external.filter(|_| action == "GetExternalIPAddress");
            let outcome = outcome.map(|ip| format!("<NewExternalIPAddress>{ip}</NewExternalIPAddress>"));
            done(&action, outcome.ok_or(501), is_eloquent)
        }
        path if dead(path, "/dead", &shared.behaviour).is_some() => {
            let control = path.trim_end_matches(".xml");
            answer("200 OK", &devices(&service(&format!("/ctl{control}"))))
        }
        _ => {
            shared.counts.unknown += 1;
            answer("404 Not Found", "")
        }
    }
}

/// The external address of the dead service that a path names.
fn dead(path: &str, prefix: &str, behaviour: &Behaviour) -> Option<IpAddr> {
    let number = path.strip_prefix(prefix)?.trim_end_matches(".xml");
    behaviour.dead_services.get(number.parse::<usize>().ok()?).copied()
}

/// As it comes out of its buffer.
fn written(body: &str, writing: Writing) -> Vec<u8> {
    let body = match writing {
        Writing::RawAmpersand => body.replace("fake", "Fake & Sons"),
        Writing::WrongEnd => body.replace("fake</friendlyName>", "fake</FriendlyName>"),
        Writing::TrailingNul => body.to_owned() + "\0\0",
        Writing::LeadingBlank => "\r\n ".to_owned() + body,
        Writing::Proper | Writing::Latin1 => body.to_owned(),
    };
    let mut bytes = body.into_bytes();
    if writing == Writing::Latin1 {
        // The names of devices: an e with an accent.
        let at: Vec<_> =
            bytes.windows(5).enumerate().filter(|(_, five)| five == b">fake").map(|(at, _)| at).collect();
        at.into_iter().for_each(|at| bytes[at + 4] = 0xe9);
    }
    bytes
}

/// The arguments of an action's answer, or the error's number.
fn act(action: &str, request: &Request, shared: &mut Shared) -> Result<String, u16> {
    match action {
        "GetExternalIPAddress" => {
            shared.counts.external_address += 1;
            let external = shared.behaviour.external;
            Ok(format!("<NewExternalIPAddress>{external}</NewExternalIPAddress>"))
        }
        "AddPortMapping" => {
            shared.counts.add += 1;
            add(request, shared).map(|()| String::new())
        }
        "DeletePortMapping" => {
            shared.counts.delete += 1;
            let mapping = shared.table.remove(&number(request, "NewExternalPort")?);
            mapping.map(|_| String::new()).ok_or(714)
        }
        "GetSpecificPortMappingEntry" => {
            shared.counts.specific_entry += 1;
            if !shared.behaviour.has_specific_entry {
                return Err(401);
            }
            let mapping = shared.table.get(&number(request, "NewExternalPort")?);
            let free = shared.behaviour.free_entry.map(|(port, client)| fields(port, client, 0, ""));
            mapping.map(|mapping| entry(mapping, &shared.behaviour)).or(free).ok_or(714)
        }
        "GetGenericPortMappingEntry" => {
            shared.counts.generic_entry += 1;
            let index = usize::from(number(request, "NewPortMappingIndex")?);
            let mapping = shared.table.values().nth(index).ok_or(713_u16)?;
            let external = mapping.external;
            Ok(format!(
                "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external}</NewExternalPort>\
                 <NewProtocol>TCP</NewProtocol>{}",
                entry(mapping, &shared.behaviour)
            ))
        }
        _ => {
            shared.counts.unknown += 1;
            Err(401)
        }
    }
}

fn add(request: &Request, shared: &mut Shared) -> Result<(), u16> {
    let text = |name: &str| request.element(name).ok_or(402_u16);
    if text("NewProtocol")? != "TCP" {
        return Err(402);
    }
    let client = text("NewInternalClient")?.parse().map_err(|_| 402_u16)?;
    let mapping = Mapping {
        external: number(request, "NewExternalPort")?,
        internal: std::net::SocketAddrV4::new(
            shared.behaviour.takes_us_for.unwrap_or(client),
            number(request, "NewInternalPort")?,
        ),
        lease: lease(text("NewLeaseDuration")?.parse().map_err(|_| 402_u16)?, shared.behaviour.leases)?,
        description: shared.behaviour.describes_as.clone().unwrap_or(text("NewPortMappingDescription")?),
    };
    if let Some(code) = shared.behaviour.refusal {
        return Err(code);
    }
    if shared.behaviour.conflicts > 0 {
        shared.behaviour.conflicts -= 1;
        return Err(718);
    }
    // As miniupnpd does it: the same client's entry is overwritten, another one's is a conflict.
    if shared.table.get(&mapping.external).is_some_and(|known| known.internal.ip() != mapping.internal.ip()) {
        return Err(718);
    }
    if !shared.behaviour.is_forgetful {
        shared.table.insert(mapping.external, mapping);
    }
    Ok(())
}

/// The lease that is granted.
fn lease(asked: u32, leases: Leases) -> Result<u32, u16> {
    match leases {
        Leases::Any => Ok(asked),
        Leases::OnlyPermanent if asked != 0 => Err(725),
        Leases::OnlyLimited if asked == 0 => Err(402),
        Leases::LimitedFail if asked != 0 => Err(501),
        Leases::OnlyPermanent | Leases::OnlyLimited | Leases::LimitedFail => Ok(asked),
        Leases::Neither => Err(402),
        Leases::UpTo(most) => Ok(asked.min(most)),
    }
}

fn number(request: &Request, name: &str) -> Result<u16, u16> {
    request.element(name).and_then(|text| text.parse().ok()).ok_or(402)
}

fn entry(mapping: &Mapping, behaviour: &Behaviour) -> String {
    let Mapping { internal, lease, description, .. } = mapping;
    let client = behaviour.shows_client.map_or_else(|| internal.ip().to_string(), str::to_owned);
    fields(&internal.port().to_string(), &client, *lease, description)
}

fn fields(port: &str, client: &str, lease: u32, description: &str) -> String {
    format!(
        "<NewInternalPort>{port}</NewInternalPort><NewInternalClient>{client}</NewInternalClient>\
         <NewEnabled>1</NewEnabled><NewPortMappingDescription>{description}</NewPortMappingDescription>\
         <NewLeaseDuration>{lease}</NewLeaseDuration>"
    )
}

fn fault(code: u16, is_eloquent: bool) -> String {
    let why =
        if is_eloquent { format!("<errorDescription>Error{code}</errorDescription>") } else { String::new() };
    envelope(&format!(
        "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>\
         <UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>{code}</errorCode>{why}</UPnPError>\
         </detail></s:Fault>"
    ))
}

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>{body}</s:Body></s:Envelope>"
    )
}

fn description(at: SocketAddr, behaviour: &Behaviour) -> String {
    let control = match behaviour.control_url {
        ControlUrl::Rooted => "/ctl/wan".to_owned(),
        ControlUrl::Relative => "ctl/wan".to_owned(),
        ControlUrl::Absolute => format!("http://{at}/ctl/wan"),
    };
    let dead = if behaviour.has_many_devices { 0 } else { behaviour.dead_services.len() };
    let dead: String = (0..dead).map(|number| service(&format!("/ctl/dead{number}"))).collect();
    devices(&(dead + &service(&control)))
}

fn service(control: &str) -> String {
    format!(
        "<service><serviceType>{SERVICE}</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>\
         <SCPDURL>/wan.xml</SCPDURL><controlURL>{control}</controlURL><eventSubURL>/evt/wan</eventSubURL></service>"
    )
}

/// The description of a router with these services.
fn devices(services: &str) -> String {
    let device = |kind: &str, inside: &str| {
        format!(
            "<device><deviceType>urn:schemas-upnp-org:device:{kind}:1</deviceType>\
             <friendlyName>fake</friendlyName>{inside}</device>"
        )
    };
    let connection = device("WANConnectionDevice", &format!("<serviceList>{services}</serviceList>"));
    let wan = device("WANDevice", &format!("<deviceList>{connection}</deviceList>"));
    let root = device("InternetGatewayDevice", &format!("<deviceList>{wan}</deviceList>"));
    format!("<?xml version=\"1.0\"?>\r\n<root xmlns=\"urn:schemas-upnp-org:device-1-0\">{root}</root>")
}
