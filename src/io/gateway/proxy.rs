//! Whether an HTTP proxy would get what is meant for the router.
//!
//! The HTTP client underneath UPnP takes its proxy from the environment, and offers no way to say no. This is its rule,
//! mistakes included, because it is what decides: a variable in small letters goes before one in capital letters,
//! `http_proxy` before `all_proxy`; other schemes than HTTP's count as none; an entry of `no_proxy` exempts every host
//! whose name ends with it, so that an empty one exempts all.

use std::net::IpAddr;

/// Looks up a variable, as `std::env::var` does.
pub(super) type Environment = fn(&str) -> Option<String>;

/// `router`: where it is known before the search.
pub(super) fn is_in_the_way(environment: Environment, router: Option<IpAddr>) -> bool {
    let get = |name: &str| environment(name).or_else(|| environment(&name.to_ascii_uppercase()));
    let is_proxy = |name| get(name).is_some_and(|value| is_http(&value));
    if !is_proxy("http_proxy") && !is_proxy("all_proxy") {
        return false;
    }
    let Some(exempt) = get("no_proxy") else { return true };
    let host = router.map(|router| router.to_string()).unwrap_or_default();
    let exempts = |entry: &str| host.ends_with(entry.trim().trim_start_matches('.'));
    exempt != "*" && !exempt.split(',').any(exempts)
}

fn is_http(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    value.starts_with("http:") || value.starts_with("https:")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 1)));

    #[test]
    fn no_proxy_is_no_hindrance() {
        assert!(!is_in_the_way(|_| None, ROUTER));
        assert!(!is_in_the_way(|_| Some(String::new()), ROUTER));
        assert!(!is_in_the_way(|name| (name == "https_proxy").then(|| "http://p:3128".into()), ROUTER));
        assert!(!is_in_the_way(|name| (name == "all_proxy").then(|| "socks5://p:1080".into()), ROUTER));
    }

    #[test]
    fn a_proxy_is_one_under_each_of_its_names() {
        fn with(name: &str) -> bool {
            let environment: Environment = match name {
                "http_proxy" => |name| (name == "http_proxy").then(|| "http://p:3128".into()),
                "HTTP_PROXY" => |name| (name == "HTTP_PROXY").then(|| "http://p:3128".into()),
                "all_proxy" => |name| (name == "all_proxy").then(|| " HTTPS://p".into()),
                _ => |name| (name == "ALL_PROXY").then(|| "http:p".into()),
            };
            is_in_the_way(environment, ROUTER) && is_in_the_way(environment, None)
        }
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            assert!(with(name), "{name}");
        }
    }

    #[test]
    fn a_router_can_be_exempt() {
        fn exempted_by(environment: Environment) -> (bool, bool) {
            (!is_in_the_way(environment, ROUTER), !is_in_the_way(environment, None))
        }
        let all = |name: &str| match name {
            "http_proxy" => Some("http://p:3128".to_owned()),
            "no_proxy" => Some("*".to_owned()),
            _ => None,
        };
        assert_eq!(exempted_by(all), (true, true));
        let this = |name: &str| match name {
            "http_proxy" => Some("http://p:3128".to_owned()),
            "NO_PROXY" => Some("localhost, 192.168.1.1".to_owned()),
            _ => None,
        };
        assert_eq!(exempted_by(this), (true, false), "an unknown router is not exempt");
        let network = |name: &str| match name {
            "http_proxy" => Some("http://p:3128".to_owned()),
            "no_proxy" => Some("192.168.0.0/16,10.0.0.1".to_owned()),
            _ => None,
        };
        assert_eq!(exempted_by(network), (false, false), "the client underneath knows no networks");
        let empty = |name: &str| match name {
            "http_proxy" => Some("http://p:3128".to_owned()),
            "no_proxy" => Some("localhost,".to_owned()),
            _ => None,
        };
        assert_eq!(exempted_by(empty), (true, true));
    }
}
