//! What routers send for XML: names and their texts, in their order.
//!
//! Some of it is none: an `&` stands for itself, an element is closed by another name, a NUL or a blank line is left from
//! the buffer that it was written in, letters are of another alphabet than the one that is named. All that is of no
//! importance for the few elements that are looked for, so it is overlooked.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

/// Descriptions have some hundred elements.
const MOST: usize = 4096;

/// An element: its name without the namespace, and its text. The text of one that contains others is empty.
pub(super) type Element = (String, String);

/// The elements of a document, in the order in which they begin, as far as it can be read.
pub(super) fn elements(document: &[u8]) -> Vec<Element> {
    let document = text(document);
    let mut reader = Reader::from_str(document.trim_start_matches(is_blank));
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut elements: Vec<Element> = Vec::new();
    // The text is that of the last element, which has not been closed.
    let mut is_open = false;
    while elements.len() < MOST {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                clear_last(&mut elements, is_open);
                elements.push((name(start.local_name().as_ref()), String::new()));
                is_open = true;
            }
            Ok(Event::Empty(start)) => {
                clear_last(&mut elements, is_open);
                elements.push((name(start.local_name().as_ref()), String::new()));
                is_open = false;
            }
            Ok(Event::End(_)) => is_open = false,
            Ok(Event::Text(more)) => add(&mut elements, is_open, &more),
            Ok(Event::CData(more)) => add(&mut elements, is_open, &more),
            Ok(Event::GeneralRef(reference)) => add(&mut elements, is_open, &resolved(&reference)),
            Ok(Event::Eof) | Err(_) => break,
            Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_)) => {}
        }
    }
    for (_, text) in &mut elements {
        *text = text.trim_matches(is_blank).to_owned();
    }
    elements
}

/// The text of the first element of that name.
pub(super) fn text_of<'a>(elements: &'a [Element], name: &str) -> Option<&'a str> {
    elements.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
}

/// What is not UTF-8 is taken for Latin-1, in which every byte is a letter, whatever the document says of itself.
fn text(document: &[u8]) -> String {
    let text = match std::str::from_utf8(document) {
        Ok(text) => text.to_owned(),
        Err(_) => document.iter().map(|byte| char::from(*byte)).collect(),
    };
    text.replace('\0', "")
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\u{feff}'
}

fn name(local: &str) -> String {
    local.to_owned()
}

/// It contains others: what stands between them is none of its text.
fn clear_last(elements: &mut [Element], is_open: bool) {
    if let Some((_, text)) = elements.last_mut().filter(|_| is_open) {
        text.clear();
    }
}

fn add(elements: &mut [Element], is_open: bool, more: &str) {
    if let Some((_, text)) = elements.last_mut().filter(|_| is_open) {
        text.push_str(more);
    }
}

/// One that nobody knows stands for itself.
fn resolved(reference: &BytesRef) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    resolve_predefined_entity(reference).map_or_else(|| format!("&{};", &**reference), str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(document: &[u8]) -> Vec<(String, String)> {
        elements(document)
    }

    fn expect(document: &[u8], expected: &[(&str, &str)]) {
        let found = pairs(document);
        let found: Vec<_> = found.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(document));
    }

    #[test]
    fn names_and_texts() {
        expect(
            b"<?xml version=\"1.0\"?>\r\n<!-- <no/> --><u:a xmlns:u=\"x\"> <b dt:dt=\"ui2\"> 80 </b><c/><d></d></u:a>",
            &[("a", ""), ("b", "80"), ("c", ""), ("d", "")],
        );
        expect(b"<a>1 &lt; 2 &#65;<![CDATA[ & ]]></a>", &[("a", "1 < 2 A &")]);
    }

    #[test]
    fn what_is_not_quite_xml() {
        for (document, expected) in [
            (&b"<a><b>Tom & Jerry</b><c>1</c></a>"[..], &[("a", ""), ("b", "Tom & Jerry"), ("c", "1")][..]),
            (b"<a><b>&nbsp;x</b><c>1</c></a>", &[("a", ""), ("b", "&nbsp;x"), ("c", "1")]),
            (b"<a><b>x</B><c>1</c></a></a>", &[("a", ""), ("b", "x"), ("c", "1")]),
            (b"<a><b>x</b></a>\0\0\0", &[("a", ""), ("b", "x")]),
            (b"\r\n \0<?xml version=\"1.0\"?><a>x</a>", &[("a", "x")]),
            (b"\xef\xbb\xbf<a>x</a>", &[("a", "x")]),
            (b"<?xml version=\"1.0\" encoding=\"utf-8\"?><a>B\xfcro</a>", &[("a", "B\u{fc}ro")]),
            (b"<a>x</a", &[("a", "x")]),
            (b"<a><b>x", &[("a", ""), ("b", "x")]),
        ] {
            expect(document, expected);
        }
    }

    #[test]
    fn a_document_without_end_has_one() {
        assert_eq!(elements("<a>".repeat(2 * MOST).as_bytes()).len(), MOST);
    }

    proptest! {
        #[test]
        fn nothing_panics(document in proptest::collection::vec(any::<u8>(), 0..300)) {
            elements(&document);
        }

        #[test]
        fn nothing_like_xml_panics(document in "(<[a-z:]{0,3}|>|</|/>|&[a-z#0-9]{0,3};?|<!--|-->|<!\\[CDATA\\[|\\]\\]>|[ -~]){0,60}") {
            elements(document.as_bytes());
        }
    }
}
