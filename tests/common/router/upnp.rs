//! UPnP's Internet Gateway Device 1: descriptions and actions (WANIPConnection:1, sections 2.4 and 2.5).

use std::net::SocketAddr;

use super::http::{Request, answer};
use super::{ControlUrl, Leases, Mapping, Shared};

const SERVICE: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";

/// The answer to a request at this address.
pub(super) fn respond(request: &Request, at: SocketAddr, shared: &mut Shared) -> Vec<u8> {
    match request.path().as_str() {
        "/root.xml" => {
            shared.counts.description += 1;
            answer("200 OK", &description(at, shared.behaviour.control_url))
        }
        "/wan.xml" => {
            shared.counts.schema += 1;
            answer("200 OK", &schema())
        }
        "/ctl/wan" => {
            let action = request.action();
            match act(&action, request, shared) {
                Ok(arguments) => answer(
                    "200 OK",
                    &envelope(&format!(
                        "<u:{action}Response xmlns:u=\"{SERVICE}\">{arguments}</u:{action}Response>"
                    )),
                ),
                Err(code) => answer("500 Internal Server Error", &fault(code, shared.behaviour.is_eloquent)),
            }
        }
        _ => {
            shared.counts.unknown += 1;
            answer("404 Not Found", "")
        }
    }
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
            shared.table.get(&number(request, "NewExternalPort")?).map(entry).ok_or(714)
        }
        "GetGenericPortMappingEntry" => {
            shared.counts.generic_entry += 1;
            let index = usize::from(number(request, "NewPortMappingIndex")?);
            let mapping = shared.table.values().nth(index).ok_or(713_u16)?;
            let external = mapping.external;
            Ok(format!(
                "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external}</NewExternalPort>\
                 <NewProtocol>TCP</NewProtocol>{}",
                entry(mapping)
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
        internal: std::net::SocketAddrV4::new(client, number(request, "NewInternalPort")?),
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
        Leases::OnlyPermanent | Leases::OnlyLimited => Ok(asked),
        Leases::Neither => Err(402),
        Leases::UpTo(most) => Ok(asked.min(most)),
    }
}

fn number(request: &Request, name: &str) -> Result<u16, u16> {
    request.element(name).and_then(|text| text.parse().ok()).ok_or(402)
}

fn entry(mapping: &Mapping) -> String {
    let Mapping { internal, lease, description, .. } = mapping;
    format!(
        "<NewInternalPort>{}</NewInternalPort><NewInternalClient>{}</NewInternalClient><NewEnabled>1</NewEnabled>\
         <NewPortMappingDescription>{description}</NewPortMappingDescription>\
         <NewLeaseDuration>{lease}</NewLeaseDuration>",
        internal.port(),
        internal.ip()
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

fn description(at: SocketAddr, url: ControlUrl) -> String {
    let control = match url {
        ControlUrl::Rooted => "/ctl/wan".to_owned(),
        ControlUrl::Relative => "ctl/wan".to_owned(),
        ControlUrl::Absolute => format!("http://{at}/ctl/wan"),
    };
    let device = |kind: &str, inside: &str| {
        format!(
            "<device><deviceType>urn:schemas-upnp-org:device:{kind}:1</deviceType>\
             <friendlyName>fake</friendlyName>{inside}</device>"
        )
    };
    let service = format!(
        "<serviceList><service><serviceType>{SERVICE}</serviceType>\
         <serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId><SCPDURL>/wan.xml</SCPDURL>\
         <controlURL>{control}</controlURL><eventSubURL>/evt/wan</eventSubURL></service></serviceList>"
    );
    let connection = device("WANConnectionDevice", &service);
    let wan = device("WANDevice", &format!("<deviceList>{connection}</deviceList>"));
    let root = device("InternetGatewayDevice", &format!("<deviceList>{wan}</deviceList>"));
    format!("<?xml version=\"1.0\"?>\r\n<root xmlns=\"urn:schemas-upnp-org:device-1-0\">{root}</root>")
}

/// The actions with what goes into them, which is what a control point reads of it.
fn schema() -> String {
    let mapping = ["NewRemoteHost", "NewExternalPort", "NewProtocol"];
    let entry = [
        "NewInternalPort",
        "NewInternalClient",
        "NewEnabled",
        "NewPortMappingDescription",
        "NewLeaseDuration",
    ];
    let actions = [
        action("GetExternalIPAddress", &[]),
        action("AddPortMapping", &[&mapping[..], &entry[..]].concat()),
        action("DeletePortMapping", &mapping),
        action("GetGenericPortMappingEntry", &["NewPortMappingIndex"]),
        action("GetSpecificPortMappingEntry", &mapping),
    ]
    .concat();
    format!(
        "<?xml version=\"1.0\"?>\r\n<scpd xmlns=\"urn:schemas-upnp-org:service-1-0\">\
         <actionList>{actions}</actionList></scpd>"
    )
}

fn action(name: &str, arguments: &[&str]) -> String {
    let arguments: String = arguments
        .iter()
        .map(|argument| format!("<argument><name>{argument}</name><direction>in</direction></argument>"))
        .collect();
    format!("<action><name>{name}</name><argumentList>{arguments}</argumentList></action>")
}
