//! The words of routers.

use crate::reach::MappingFault;
use crate::text::is_harmless;

/// What a router says, fit to be printed: whatever came from the network may hold anything.
pub(super) fn said(text: &str) -> MappingFault {
    let printable = text.chars().map(|character| if is_harmless(character) { character } else { '?' });
    MappingFault::Other(printable.take(LONGEST).collect::<String>().into())
}

/// Characters of what is said that are kept.
const LONGEST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_cut_and_printable() {
        let long = format!("\u{1b}[31m\u{202e}{}", "ä".repeat(500));
        let MappingFault::Other(text) = said(&long) else { panic!("not said") };
        assert!(text.starts_with("?[31m?ä"));
        assert_eq!(text.chars().count(), LONGEST);
    }
}
