//! The text of what members tell each other: one JSON object, whose field `k` says what it is.
//!
//! `from` and `to` are the lives of the two ends, 16 hexadecimal digits each; who they are the link has proven. A place has 40
//! hexadecimal digits; a member is the Base64 of its place's 20 bytes and its life's 8, without padding, and several are the
//! Base64 of all, one after the other. Fields that are not known are passed over; a kind that is not known is no letter.
//!
//! | `k` | fields |
//! |---|---|
//! | `ask` | `n`, `insist` |
//! | `answer` | `n`, `pred`, `list`, `wraps` |
//! | `busy`, `gone`, `probe`, `ack`, `notfound`, `unsure`, `askfingers` | `n` |
//! | `alive` | `n`, `pred` |
//! | `notify`, `kick`, `leave`, `settled`, `meet` | |
//! | `join` | `n`, `without` |
//! | `welcome` | `n`, `pred`, `list`, `wraps` |
//! | `elsewhere` | `n`, `through` |
//! | `fingers` | `n`, `list` |
//! | `find` | `n`, `key`, `origin`, `query`, `before`, `last`, `careful`, `hops`, `more`, `timeouts`, `ms`, `dead` |
//! | `found` | `n`, `receipt`, `owner`, `pred`, `hops`, `timeouts` |
//! | `direct` | `query`, `owner`, `pred`, `hops`, `timeouts` |
//! | `point` | `n`, `key`, `last`, `dead` |
//! | `pointed` | `n`, `list`, `last` |

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use super::list::{LONGEST, List};
use super::member::{Life, Member};
use super::message::{Find, Found, MAX_DEAD, MAX_HINTS, Message, Want};
use super::place::Place;
use crate::wire::json::{Fields, hex, number, print_hex};

/// A longer text is no letter. The longest list has 2,400 bytes.
pub(crate) const MAX_LETTER: usize = 4096;

/// Place and life.
const MEMBER_LENGTH: usize = 28;

/// A message, and which lives its ends are in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Letter {
    pub(crate) from: Life,
    pub(crate) to: Life,
    pub(crate) message: Message,
}

/// Printed without spaces. Times are whole milliseconds.
pub(crate) fn print(letter: &Letter) -> String {
    let mut fields = json!({"k": kind(&letter.message)});
    set_life(&mut fields, "from", letter.from);
    set_life(&mut fields, "to", letter.to);
    if let Some(number) = letter.message.answers().or_else(|| letter.message.asks()) {
        fields["n"] = number.into();
    }
    // Here and below: indexing an object, which it is, adds the field.
    match &letter.message {
        Message::Ask { insists, .. } => set_flag(&mut fields, "insist", *insists),
        Message::Answer { predecessor, list, .. } | Message::Welcome { predecessor, list, .. } => {
            set_member(&mut fields, "pred", *predecessor);
            fields["list"] = print_members(list.members()).into();
            set_flag(&mut fields, "wraps", list.wraps());
        }
        Message::Alive { predecessor, .. } => set_member(&mut fields, "pred", *predecessor),
        Message::Join { without, .. } => set_place(&mut fields, "without", *without),
        Message::Elsewhere { through, .. } => set_member(&mut fields, "through", *through),
        Message::Fingers { members, .. } => fields["list"] = print_members(members).into(),
        Message::Find { find, .. } => set_find(&mut fields, find),
        Message::Found { receipt, found, .. } => {
            fields["receipt"] = (*receipt).into();
            set_found(&mut fields, found);
        }
        Message::Direct { query, found } => {
            fields["query"] = print_hex(&query.to_be_bytes()).into();
            set_found(&mut fields, found);
        }
        Message::Point { key, last, dead, .. } => {
            set_place(&mut fields, "key", Some(*key));
            set_flag(&mut fields, "last", *last);
            set_dead(&mut fields, dead);
        }
        Message::Pointed { members, last, .. } => {
            fields["list"] = print_members(members).into();
            set_flag(&mut fields, "last", *last);
        }
        _ => {}
    }
    fields.to_string()
}

/// `None` when it is too long, or nothing that is known. What it says is not checked beyond its form: lists may be out of
/// order.
pub(crate) fn parse(text: &[u8]) -> Option<Letter> {
    if text.len() > MAX_LETTER {
        return None;
    }
    let fields = Fields::parse(text)?;
    let kind = fields.required("k", |kind| kind.as_str().map(str::to_owned))?;
    let [from, to] = ["from", "to"].map(|name| fields.optional(name, parse_life));
    let message = parse_message(&kind, &fields)?;
    Some(Letter { from: from?.unwrap_or(Life::ANY), to: to?.unwrap_or(Life::ANY), message })
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Ask { .. } => "ask",
        Message::Answer { .. } => "answer",
        Message::Busy { .. } => "busy",
        Message::Gone { .. } => "gone",
        Message::Probe { .. } => "probe",
        Message::Alive { .. } => "alive",
        Message::Notify => "notify",
        Message::Kick => "kick",
        Message::Leave => "leave",
        Message::Join { .. } => "join",
        Message::Welcome { .. } => "welcome",
        Message::Elsewhere { .. } => "elsewhere",
        Message::Settled => "settled",
        Message::AskFingers { .. } => "askfingers",
        Message::Fingers { .. } => "fingers",
        Message::Meet => "meet",
        Message::Find { .. } => "find",
        Message::Ack { .. } => "ack",
        Message::Found { .. } => "found",
        Message::NotFound { .. } => "notfound",
        Message::Unsure { .. } => "unsure",
        Message::Direct { .. } => "direct",
        Message::Point { .. } => "point",
        Message::Pointed { .. } => "pointed",
    }
}

fn parse_message(kind: &str, fields: &Fields) -> Option<Message> {
    let drawn = || fields.required("n", number);
    let place = |name| fields.required(name, parse_place);
    let member = |name| fields.optional(name, parse_member);
    let members = |most| fields.required("list", |value| parse_members(value, most));
    let list = || Some(List::read(&members(LONGEST)?, fields.flag("wraps")?));
    Some(match kind {
        "ask" => Message::Ask { number: drawn()?, insists: fields.flag("insist")? },
        "answer" => Message::Answer { number: drawn()?, predecessor: member("pred")?, list: list()? },
        "busy" => Message::Busy { number: drawn()? },
        "gone" => Message::Gone { number: drawn()? },
        "probe" => Message::Probe { number: drawn()? },
        "alive" => Message::Alive { number: drawn()?, predecessor: member("pred")? },
        "notify" => Message::Notify,
        "kick" => Message::Kick,
        "leave" => Message::Leave,
        "join" => Message::Join { number: drawn()?, without: fields.optional("without", parse_place)? },
        "welcome" => Message::Welcome { number: drawn()?, predecessor: member("pred")?, list: list()? },
        "elsewhere" => Message::Elsewhere { number: drawn()?, through: member("through")? },
        "settled" => Message::Settled,
        "askfingers" => Message::AskFingers { number: drawn()? },
        "fingers" => Message::Fingers { number: drawn()?, members: members(MAX_HINTS)? },
        "meet" => Message::Meet,
        "find" => Message::Find { number: drawn()?, find: parse_find(fields)? },
        "ack" => Message::Ack { number: drawn()? },
        "found" => Message::Found {
            number: drawn()?,
            receipt: fields.required("receipt", number)?,
            found: parse_found(fields)?,
        },
        "notfound" => Message::NotFound { number: drawn()? },
        "unsure" => Message::Unsure { number: drawn()? },
        "direct" => Message::Direct {
            query: fields.required("query", hex).map(u64::from_be_bytes)?,
            found: parse_found(fields)?,
        },
        "point" => Message::Point {
            number: drawn()?,
            key: place("key")?,
            last: fields.flag("last")?,
            dead: fields.optional("dead", parse_dead)?.unwrap_or_default(),
        },
        "pointed" => {
            Message::Pointed { number: drawn()?, members: members(MAX_HINTS)?, last: fields.flag("last")? }
        }
        _ => return None,
    })
}

fn set_find(fields: &mut Value, find: &Find) {
    let Find { key, origin, query, want, last, careful, hops, hops_left, timeouts, left, dead } = find;
    set_place(fields, "key", Some(*key));
    set_member(fields, "origin", Some(*origin));
    fields["query"] = print_hex(&query.to_be_bytes()).into();
    set_flag(fields, "before", *want == Want::Predecessor);
    set_flag(fields, "last", *last);
    set_flag(fields, "careful", *careful);
    fields["hops"] = (*hops).into();
    fields["more"] = (*hops_left).into();
    fields["timeouts"] = (*timeouts).into();
    fields["ms"] = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).into();
    set_dead(fields, dead);
}

fn set_dead(fields: &mut Value, dead: &[Place]) {
    if !dead.is_empty() {
        let bytes: Vec<u8> = dead.iter().take(MAX_DEAD).flat_map(|place| place.to_bytes()).collect();
        fields["dead"] = STANDARD_NO_PAD.encode(bytes).into();
    }
}

fn parse_find(fields: &Fields) -> Option<Find> {
    let before = fields.flag("before")?;
    Some(Find {
        key: fields.required("key", parse_place)?,
        origin: fields.required("origin", parse_member)?,
        query: fields.required("query", hex).map(u64::from_be_bytes)?,
        want: if before { Want::Predecessor } else { Want::Owner },
        last: fields.flag("last")?,
        careful: fields.flag("careful")?,
        hops: fields.required("hops", number)?,
        hops_left: fields.required("more", number)?,
        timeouts: fields.required("timeouts", number)?,
        left: fields.required("ms", number::<u32>).map(|ms| Duration::from_millis(ms.into()))?,
        dead: fields.optional("dead", parse_dead)?.unwrap_or_default(),
    })
}

fn set_found(fields: &mut Value, found: &Found) {
    set_member(fields, "owner", Some(found.owner));
    set_member(fields, "pred", found.predecessor);
    fields["hops"] = found.hops.into();
    fields["timeouts"] = found.timeouts.into();
}

fn parse_found(fields: &Fields) -> Option<Found> {
    Some(Found {
        owner: fields.required("owner", parse_member)?,
        predecessor: fields.optional("pred", parse_member)?,
        hops: fields.required("hops", number)?,
        timeouts: fields.required("timeouts", number)?,
    })
}

fn set_flag(fields: &mut Value, name: &str, flag: bool) {
    if flag {
        fields[name] = true.into();
    }
}

/// That of "any" is left out.
fn set_life(fields: &mut Value, name: &str, life: Life) {
    if life != Life::ANY {
        fields[name] = print_hex(&life.0.to_be_bytes()).into();
    }
}

fn set_place(fields: &mut Value, name: &str, place: Option<Place>) {
    if let Some(place) = place {
        fields[name] = print_hex(&place.to_bytes()).into();
    }
}

fn set_member(fields: &mut Value, name: &str, member: Option<Member>) {
    if let Some(member) = member {
        fields[name] = print_members(&[member]).into();
    }
}

fn print_members(members: &[Member]) -> String {
    let bytes = |member: &Member| [&member.place.to_bytes()[..], &member.life.0.to_be_bytes()].concat();
    STANDARD_NO_PAD.encode(members.iter().flat_map(bytes).collect::<Vec<u8>>())
}

fn parse_life(value: &Value) -> Option<Life> {
    hex(value).map(u64::from_be_bytes).map(Life)
}

fn parse_place(value: &Value) -> Option<Place> {
    hex(value).map(Place::from_bytes)
}

fn parse_member(value: &Value) -> Option<Member> {
    match *parse_members(value, 1)? {
        [member] => Some(member),
        _ => None,
    }
}

fn parse_members(value: &Value, most: usize) -> Option<Arc<[Member]>> {
    let bytes = decode(value, MEMBER_LENGTH * most)?;
    let (members, rest) = bytes.as_chunks::<MEMBER_LENGTH>();
    rest.is_empty().then(|| members.iter().map(member_of).collect())
}

fn parse_dead(value: &Value) -> Option<Vec<Place>> {
    let bytes = decode(value, 20 * MAX_DEAD)?;
    let (places, rest) = bytes.as_chunks::<20>();
    rest.is_empty().then(|| places.iter().copied().map(Place::from_bytes).collect())
}

fn member_of(bytes: &[u8; MEMBER_LENGTH]) -> Member {
    let (mut place, mut life) = ([0; 20], [0; 8]);
    place.copy_from_slice(&bytes[..20]);
    life.copy_from_slice(&bytes[20..]);
    Member { place: Place::from_bytes(place), life: Life(u64::from_be_bytes(life)) }
}

/// At most so many bytes.
fn decode(value: &Value, most: usize) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    // Four characters for three bytes.
    if text.len() > most.div_ceil(3) * 4 {
        return None;
    }
    STANDARD_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() <= most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Place> {
        any::<[u8; 20]>().prop_map(Place::from_bytes)
    }

    fn life() -> impl Strategy<Value = Life> {
        prop_oneof![Just(Life::ANY), any::<u64>().prop_map(Life)]
    }

    fn member() -> impl Strategy<Value = Member> {
        (place(), any::<u64>()).prop_map(|(place, life)| Member { place, life: Life(life) })
    }

    fn members(most: usize) -> impl Strategy<Value = Arc<[Member]>> {
        prop::collection::vec(member(), 0..=most).prop_map(Arc::from)
    }

    fn list() -> impl Strategy<Value = List> {
        (members(LONGEST), any::<bool>()).prop_map(|(members, wraps)| List::read(&members, wraps))
    }

    fn find() -> impl Strategy<Value = Find> {
        let who = (place(), member(), any::<u64>(), any::<[bool; 3]>());
        let rest = (any::<[u8; 3]>(), any::<u32>(), prop::collection::vec(place(), 0..=MAX_DEAD));
        (who, rest).prop_map(|((key, origin, query, [before, last, careful]), (counts, ms, dead))| Find {
            key,
            origin,
            query,
            want: if before { Want::Predecessor } else { Want::Owner },
            last,
            careful,
            hops: counts[0],
            hops_left: counts[1],
            timeouts: counts[2],
            left: Duration::from_millis(ms.into()),
            dead,
        })
    }

    fn found() -> impl Strategy<Value = Found> {
        (member(), prop::option::of(member()), any::<[u8; 2]>())
            .prop_map(|(owner, predecessor, [hops, timeouts])| Found { owner, predecessor, hops, timeouts })
    }

    /// Every kind.
    fn message() -> impl Strategy<Value = Message> {
        let someone = || prop::option::of(member());
        prop_oneof![
            (any::<u32>(), any::<bool>()).prop_map(|(number, insists)| Message::Ask { number, insists }),
            (any::<u32>(), someone(), list()).prop_map(|(number, predecessor, list)| Message::Answer {
                number,
                predecessor,
                list
            }),
            (any::<u32>(), someone(), list()).prop_map(|(number, predecessor, list)| Message::Welcome {
                number,
                predecessor,
                list
            }),
            (any::<u32>(), someone())
                .prop_map(|(number, predecessor)| Message::Alive { number, predecessor }),
            (any::<u32>(), someone()).prop_map(|(number, through)| Message::Elsewhere { number, through }),
            (any::<u32>(), prop::option::of(place()))
                .prop_map(|(number, without)| Message::Join { number, without }),
            (any::<u32>(), members(MAX_HINTS))
                .prop_map(|(number, members)| Message::Fingers { number, members }),
            (any::<u32>(), members(MAX_HINTS), any::<bool>())
                .prop_map(|(number, members, last)| Message::Pointed { number, members, last }),
            (any::<u32>(), place(), any::<bool>(), prop::collection::vec(place(), 0..=MAX_DEAD))
                .prop_map(|(number, key, last, dead)| Message::Point { number, key, last, dead }),
            (any::<u32>(), find()).prop_map(|(number, find)| Message::Find { number, find }),
            (any::<[u32; 2]>(), found()).prop_map(|([number, receipt], found)| Message::Found {
                number,
                receipt,
                found
            }),
            (any::<u64>(), found()).prop_map(|(query, found)| Message::Direct { query, found }),
            (any::<u32>(), 0..7_u8).prop_map(|(number, kind)| match kind {
                0 => Message::Busy { number },
                1 => Message::Gone { number },
                2 => Message::Probe { number },
                3 => Message::AskFingers { number },
                4 => Message::Ack { number },
                5 => Message::NotFound { number },
                _ => Message::Unsure { number },
            }),
            (0..5_u8).prop_map(|kind| match kind {
                0 => Message::Notify,
                1 => Message::Kick,
                2 => Message::Leave,
                3 => Message::Settled,
                _ => Message::Meet,
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(from in life(), to in life(), message in message()) {
            let letter = Letter { from, to, message };
            let text = print(&letter);
            prop_assert!(text.len() <= MAX_LETTER && !text.contains([' ', '\n']), "{}", text);
            prop_assert_eq!(parse(text.as_bytes()), Some(letter));
        }

        #[test]
        fn noise_is_nothing(text in "\\PC*") {
            prop_assert_eq!(parse(text.as_bytes()), None);
        }
    }

    #[test]
    fn a_letter_is_what_the_table_says() {
        let member = Member { place: Place::ZERO.plus_power(8), life: Life(7) };
        let list = List::read(&[member], true);
        let message = Message::Answer { number: 9, predecessor: Some(member), list };
        let text = print(&Letter { from: Life(1), to: Life(2), message });
        let base64 = "AAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAABw";
        assert_eq!(
            text,
            format!(
                r#"{{"k":"answer","from":"0000000000000001","to":"0000000000000002","n":9,"pred":"{base64}","list":"{base64}","wraps":true}}"#
            )
        );
    }

    #[test]
    fn what_is_too_long_or_cut_is_nothing() {
        let long = print_members(&vec![Member::NOBODY; LONGEST + 1]);
        let cut = &print_members(&[Member::NOBODY])[..36];
        for bad in [
            format!(r#"{{"k":"answer","n":1,"list":"{long}"}}"#),
            format!(r#"{{"k":"answer","n":1,"list":"{cut}"}}"#),
            format!(r#"{{"k":"notify","x":"{}"}}"#, "x".repeat(MAX_LETTER)),
            r#"{"k":"answer","n":1}"#.into(),
            r#"{"k":"ask","n":4294967296}"#.into(),
            r#"{"k":"ask","n":-1}"#.into(),
            r#"{"k":"marry","n":1}"#.into(),
            r#"{"k":"notify","from":"1"}"#.into(),
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(parse(br#"{"k":"notify","new":[1]}"#).is_some());
    }
}
