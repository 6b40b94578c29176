//! The lines by which two nodes make a connection a node link.
//!
//! | who | line |
//! |---|---|
//! | the dialling side | `~hello {"p2poll":1,"key":KEY,"nonce":NONCE,"credit":BYTES,"call":CALL,"use":"link"}` |
//! | the accepting side | `~hello {"p2poll":1,"key":KEY,"nonce":NONCE,"credit":BYTES,"proof":PROOF}`, or `~refused {"why":WORD}` |
//! | the dialling side | `~proof {"proof":PROOF}` |
//!
//! A key has 64 hexadecimal digits, a nonce and a call 32; a proof is Base64 without padding. What a proof signs, and
//! when a line means anything, is in [`handshake`](crate::proto::handshake). A line that is not exactly one of these is
//! the application's, whatever it begins with; fields that are not known are passed over.

use serde_json::{Value, json};

use super::json::{Fields, hex, number, print_hex, print_signature, public_key, signature};
use crate::id::{CallId, LinkNonce};
use crate::identity::{PublicKey, Signature};

/// A longer line is none of these. They have about 300 bytes; the rest is for what later versions add.
pub(crate) const MAX_HELLO: usize = 2048;

/// What every hello begins with.
pub(crate) const HELLO: &[u8] = b"~hello ";

const PROOF: &[u8] = b"~proof ";
const REFUSED: &[u8] = b"~refused ";

/// The version of all this.
const VERSION: u64 = 1;

/// The dialling side's first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) key: PublicKey,
    pub(crate) nonce: LinkNonce,
    /// How many bytes of the application's lines this side takes, before it says that it takes more.
    pub(crate) credit: u64,
    /// Which call this connection is for, when signals went before it.
    pub(crate) call: Option<CallId>,
    /// It is to take the place of a link that there is already (`"use":"upgrade"`); else it is a new one (`"link"`).
    pub(crate) upgrade: bool,
}

/// The accepting side's hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) key: PublicKey,
    pub(crate) nonce: LinkNonce,
    pub(crate) credit: u64,
    pub(crate) proof: Signature,
}

/// The dialling side's second line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) proof: Signature,
}

/// Instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) why: HelloRefusal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HelloRefusal {
    /// Not now: too many are being greeted.
    Busy,
    /// The call is none that is known here.
    Unknown,
    /// There is no room for another connection.
    Full,
    /// The call is somebody else's.
    Identity,
    /// The node is about to leave.
    Closing,
    /// What a later version says.
    Other,
}

impl Hello {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let fields = hello_fields(line)?;
        if fields.has("proof") {
            return None; // an answer
        }
        Some(Self {
            key: fields.required("key", public_key)?,
            nonce: fields.required("nonce", link_nonce)?,
            credit: fields.required("credit", number)?,
            call: fields.optional("call", hex)?.map(CallId::from_bytes),
            upgrade: fields.optional("use", is_upgrade)?.unwrap_or(false),
        })
    }

    /// With the line end.
    pub(crate) fn print(&self) -> Vec<u8> {
        let mut object = json!({
            "p2poll": VERSION,
            "key": key_text(&self.key),
            "nonce": print_hex(self.nonce.as_bytes()),
            "credit": self.credit,
        });
        if let Some(call) = self.call {
            object["call"] = print_hex(call.as_bytes()).into();
        }
        if self.upgrade {
            object["use"] = "upgrade".into();
        }
        print(HELLO, &object)
    }
}

impl Answer {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let fields = hello_fields(line)?;
        Some(Self {
            key: fields.required("key", public_key)?,
            nonce: fields.required("nonce", link_nonce)?,
            credit: fields.required("credit", number)?,
            proof: fields.required("proof", signature)?,
        })
    }

    /// With the line end.
    pub(crate) fn print(&self) -> Vec<u8> {
        let object = json!({
            "p2poll": VERSION,
            "key": key_text(&self.key),
            "nonce": print_hex(self.nonce.as_bytes()),
            "credit": self.credit,
            "proof": print_signature(&self.proof),
        });
        print(HELLO, &object)
    }
}

impl Proof {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        Some(Self { proof: fields_after(PROOF, line)?.required("proof", signature)? })
    }

    /// With the line end.
    pub(crate) fn print(&self) -> Vec<u8> {
        print(PROOF, &json!({"proof": print_signature(&self.proof)}))
    }
}

impl Refused {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let read = |why: &Value| why.as_str().map(HelloRefusal::parse);
        Some(Self { why: fields_after(REFUSED, line)?.required("why", read)? })
    }

    /// With the line end.
    pub(crate) fn print(&self) -> Vec<u8> {
        print(REFUSED, &json!({"why": self.why.word()}))
    }
}

impl HelloRefusal {
    fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Unknown => "unknown",
            Self::Full => "full",
            Self::Identity => "identity",
            Self::Closing => "closing",
            Self::Other => "other",
        }
    }

    fn parse(word: &str) -> Self {
        let known = [Self::Busy, Self::Unknown, Self::Full, Self::Identity, Self::Closing];
        known.into_iter().find(|why| why.word() == word).unwrap_or(Self::Other)
    }
}

/// The fields of either hello.
fn hello_fields(line: &[u8]) -> Option<Fields> {
    let fields = fields_after(HELLO, line)?;
    // A later version that these rules do not hold for; what they can bear is added as a field.
    (fields.required("p2poll", number::<u64>)? == VERSION).then_some(fields)
}

fn fields_after(word: &[u8], line: &[u8]) -> Option<Fields> {
    if line.len() > MAX_HELLO {
        return None;
    }
    line.strip_prefix(word).and_then(Fields::parse)
}

/// Nobody is to take for a link what a later version means otherwise, so another word is no hello.
fn is_upgrade(word: &Value) -> Option<bool> {
    match word.as_str()? {
        "link" => Some(false),
        "upgrade" => Some(true),
        _ => None,
    }
}

fn key_text(key: &PublicKey) -> String {
    print_hex(key.as_bytes())
}

fn link_nonce(value: &Value) -> Option<LinkNonce> {
    hex(value).map(LinkNonce::from_bytes)
}

fn print(word: &[u8], object: &Value) -> Vec<u8> {
    [word, object.to_string().as_bytes(), b"\r\n"].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::Key;

    const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const NONCE: &str = "000102030405060708090a0b0c0d0e0f";

    /// RFC 8032 section 7.1, TEST 1.
    fn key() -> PublicKey {
        public_key(&json!(KEY)).unwrap()
    }

    fn hello() -> Hello {
        Hello {
            key: key(),
            nonce: LinkNonce::from_bytes(std::array::from_fn(|n| n as u8)),
            credit: 7,
            call: None,
            upgrade: false,
        }
    }

    fn line_of(printed: &[u8]) -> &[u8] {
        printed.strip_suffix(b"\r\n").unwrap()
    }

    #[test]
    fn the_lines_are_these() {
        let text = |line: Vec<u8>| String::from_utf8(line).unwrap();
        let begin = format!(r#"~hello {{"p2poll":1,"key":"{KEY}","nonce":"{NONCE}","credit":7"#);
        assert_eq!(text(hello().print()), format!("{begin}}}\r\n"));
        let asking = Hello { call: Some(CallId::from_bytes([0xab; 16])), upgrade: true, ..hello() };
        let call = "ab".repeat(16);
        assert_eq!(text(asking.print()), format!("{begin},\"call\":\"{call}\",\"use\":\"upgrade\"}}\r\n"));
        let Hello { key, nonce, .. } = hello();
        let (proof, proof_text) = ([0; 64], "A".repeat(86));
        let answer = Answer { key, nonce, credit: 7, proof };
        assert_eq!(text(answer.print()), format!("{begin},\"proof\":\"{proof_text}\"}}\r\n"));
        assert_eq!(text(Proof { proof }.print()), format!("~proof {{\"proof\":\"{proof_text}\"}}\r\n"));
        assert_eq!(text(Refused { why: HelloRefusal::Busy }.print()), "~refused {\"why\":\"busy\"}\r\n");
    }

    #[test]
    fn what_is_typed_by_hand_or_said_by_a_later_version_is_understood() {
        let typed = format!(
            r#"~hello  {{ "nonce": "{NONCE}", "new": [{{}}], "key": "{KEY}", "use": "link", "p2poll": 1, "credit": 7 }} "#
        );
        assert_eq!(Hello::parse(typed.as_bytes()), Some(hello()));
        assert_eq!(
            Refused::parse(br#"~refused {"why":"weather"}"#),
            Some(Refused { why: HelloRefusal::Other })
        );
    }

    #[test]
    fn anything_else_is_an_ordinary_line() {
        let with = |fields: &str| {
            format!(r#"~hello {{"p2poll":1,"key":"{KEY}","nonce":"{NONCE}","credit":7,{fields}}}"#)
        };
        assert!(Hello::parse(with(r#""x":1"#).as_bytes()).is_some());
        let bad = [
            String::new(),
            "~hello".into(),
            "~hello {}".into(),
            with(r#""x":1"#)[1..].into(),
            with(r#""x":1"#).replacen("hello ", "hello", 1),
            with(r#""x":1"#) + "x",
            with(r#""call":"ab""#),
            with(r#""call":null"#),
            with(r#""use":"ring""#),
            with(r#""use":true"#),
            with(r#""proof":1"#),
            with(r#""p2poll":2"#),
            with(r#""p2poll":"1""#),
            with(r#""nonce":7"#),
            with(r#""credit":-1"#),
            with(r#""credit":"7""#),
            with(&format!(r#""key":"{}""#, "00".repeat(32))),
        ];
        for line in bad {
            assert_eq!(
                (Hello::parse(line.as_bytes()), Answer::parse(line.as_bytes())),
                (None, None),
                "{line}"
            );
        }
        let others =
            ["~proof {}", "~proof {\"proof\":\"AA\"}", "~proof", "~refused {}", "~refused {\"why\":1}"];
        for line in others {
            let line = line.as_bytes();
            assert_eq!((Proof::parse(line), Refused::parse(line)), (None, None), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_line_over_the_limit_is_not_read() {
        let mut line = line_of(&hello().print()).to_vec();
        line.resize(MAX_HELLO, b' ');
        assert_eq!(Hello::parse(&line), Some(hello()));
        line.push(b' ');
        assert_eq!(Hello::parse(&line), None);
    }

    fn any_key() -> impl Strategy<Value = PublicKey> {
        any::<[u8; 32]>().prop_map(|seed| Key::from_seed(&seed).public())
    }

    fn any_proof() -> impl Strategy<Value = Signature> {
        any::<[[u8; 32]; 2]>().prop_map(|halves| std::array::from_fn(|n| halves[n / 32][n % 32]))
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_that_and_nothing_else(
            key in any_key(),
            nonce: [u8; 16],
            credit: u64,
            call: Option<[u8; 16]>,
            upgrade: bool,
            proof in any_proof(),
        ) {
            let (nonce, call) = (LinkNonce::from_bytes(nonce), call.map(CallId::from_bytes));
            let hello = Hello { key, nonce, credit, call, upgrade };
            let printed = hello.print();
            prop_assert_eq!(Answer::parse(line_of(&printed)), None);
            prop_assert_eq!(Hello::parse(line_of(&printed)), Some(hello));
            let answer = Answer { key, nonce, credit, proof };
            let printed = answer.print();
            prop_assert_eq!(Hello::parse(line_of(&printed)), None);
            prop_assert_eq!(Answer::parse(line_of(&printed)), Some(answer));
            prop_assert_eq!(Proof::parse(line_of(&Proof { proof }.print())), Some(Proof { proof }));
        }

        #[test]
        fn no_line_is_too_odd(choice in 0..3usize, rest in ".*", bytes: Vec<u8>) {
            for tail in [rest.into_bytes(), bytes] {
                let line = [[HELLO, PROOF, REFUSED][choice], &tail].concat();
                prop_assert_eq!(Hello::parse(&line), None);
                prop_assert_eq!(Answer::parse(&line), None);
                prop_assert_eq!(Proof::parse(&line), None);
            }
        }
    }

    #[test]
    fn refusals_keep_their_word() {
        use HelloRefusal::*;
        for why in [Busy, Unknown, Full, Identity, Closing, Other] {
            assert_eq!(Refused::parse(line_of(&Refused { why }.print())), Some(Refused { why }));
        }
    }
}
