//! The JSON objects of protocol lines and signals.
//!
//! A field that is not known is passed over, so that a later version can add some. One of another type than expected
//! makes the whole thing none of ours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value};

use crate::identity::{PublicKey, SIGNATURE_LENGTH, Signature};

/// What was read. Its size and depth are bounded by the text's length, which the caller checks, and by serde_json's
/// limit of 128 levels.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// `None` when the text is anything but one object.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().map(Self)
    }

    /// A field that has to be there.
    pub(super) fn required<T>(&self, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        self.0.get(name).and_then(read)
    }

    /// A field that may be missing: `Some(None)` is a missing one, `None` one that can not be read.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<Option<T>> {
        self.0.get(name).map(read).map_or(Some(None), |value| value.map(Some))
    }

    /// A field that is false when it is missing.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.optional(name, Value::as_bool).map(Option::unwrap_or_default)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// An object inside of an object.
pub(super) fn object(value: &Value) -> Option<Fields> {
    value.as_object().cloned().map(Fields)
}

/// A whole number, of a type that holds it.
pub(super) fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    value.as_u64().and_then(|number| T::try_from(number).ok())
}

/// Exactly so many bytes in hexadecimal, large or small.
pub(super) fn hex<const N: usize>(value: &Value) -> Option<[u8; N]> {
    let text = value.as_str()?.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        // At most 15 each, with a radix of 16, and a chunk has two.
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = (high? << 4 | low?) as u8;
    }
    Some(bytes)
}

/// A key that can prove something.
pub(super) fn public_key(value: &Value) -> Option<PublicKey> {
    hex(value).and_then(|bytes| PublicKey::from_bytes(&bytes))
}

pub(super) fn signature(value: &Value) -> Option<Signature> {
    // One byte more than it may have, so that a longer one is seen.
    let mut bytes = [0; SIGNATURE_LENGTH + 1];
    let length = STANDARD_NO_PAD.decode_slice(value.as_str()?, &mut bytes).ok()?;
    bytes.get(..length)?.try_into().ok()
}

pub(super) fn print_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |digit: u8| char::from(DIGITS[usize::from(digit & 15)]);
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}

pub(super) fn print_signature(signature: &Signature) -> String {
    STANDARD_NO_PAD.encode(signature)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_missing_read_or_wrong() {
        let fields = Fields::parse(br#" {"yes":true,"text":"x","null":null,"inner":{"n":7}} "#).unwrap();
        assert_eq!(
            [fields.flag("yes"), fields.flag("no"), fields.flag("text"), fields.flag("null")],
            [Some(true), Some(false), None, None]
        );
        assert_eq!(fields.optional("none", number::<u8>), Some(None));
        assert_eq!(fields.required("none", number::<u8>), None);
        assert_eq!(fields.required("inner", object).unwrap().required("n", number::<u8>), Some(7));
        assert!(fields.has("null") && !fields.has("none"));
    }

    #[test]
    fn only_one_object_is_an_object() {
        let deep = "{\"a\":".repeat(400) + "1" + &"}".repeat(400);
        for bad in ["", "1", "[]", "null", "{", "{}{}", "{} x", "{\"a\":\"\u{1}\"}", "{'a':1}", &deep] {
            assert!(Fields::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(Fields::parse(b"{\"a\":\"\xff\"}").is_none());
    }

    #[test]
    fn numbers_fit_their_type() {
        assert_eq!(number::<u16>(&json!(65535)), Some(65535));
        for bad in [json!(65536), json!(-1), json!(1.5), json!(1.0), json!("1"), json!(null)] {
            assert_eq!(number::<u16>(&bad), None, "{bad}");
        }
    }

    #[test]
    fn hexadecimal_has_its_length_and_nothing_but_digits() {
        assert_eq!(hex(&json!("00fF7a")), Some([0, 255, 0x7a]));
        for bad in ["", "00ff", "00ff7", "00ff7a0", "00ff7a00", "00ff+a", "00ff7g", "0ff7ä"] {
            assert_eq!(hex::<3>(&json!(bad)), None, "{bad}");
        }
        assert_eq!(hex::<3>(&json!(7)), None);
    }

    #[test]
    fn a_signature_has_one_text() {
        let text = print_signature(&[0xff; SIGNATURE_LENGTH]);
        assert_eq!(text.len(), 86);
        assert_eq!(signature(&json!(text)), Some([0xff; SIGNATURE_LENGTH]));
        let last_bits = text.replacen("w", "x", 1);
        for bad in
            [&text[1..], &format!("{text}=="), &format!("{text}AA"), &last_bits, &text.replace('/', "_")]
        {
            assert_eq!(signature(&json!(bad)), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(bytes: [u8; 16], sign in any::<[[u8; 32]; 2]>()) {
            prop_assert_eq!(hex(&json!(print_hex(&bytes))), Some(bytes));
            let sign: Signature = sign.concat().try_into().unwrap();
            prop_assert_eq!(signature(&json!(print_signature(&sign))), Some(sign));
        }
    }
}
