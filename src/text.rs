//! Text of strangers, fit to be shown.

use std::borrow::Cow;

/// The text with everything visible that would command a terminal, or hide, or turn what stands beside it: characters of
/// control (but for the tabulator), ends of lines and paragraphs, marks that turn the direction of writing, and those
/// that have no width or nothing to show (zero-width spaces and joiners, tags, soft hyphens, fillers). Each becomes
/// `\u{..}`, by which it is found again.
///
/// For programs that print what peers send: a [`Line`](crate::Line) is what a stranger says, and is handed out as it is.
/// What this library logs has gone through here. Selectors of a character's look (U+FE00 to U+FE0F) stay, as emojis
/// are written with them; joined emojis come apart.
///
/// ```
/// assert_eq!(p2poll::harmless("grüße \u{1b}[2J\u{202e}gpj.exe"), "grüße \\u{1b}[2J\\u{202e}gpj.exe");
/// ```
pub fn harmless(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(|c| !is_harmless(c)) else { return Cow::Borrowed(text) };
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(&text[..first]);
    for c in text[first..].chars() {
        if is_harmless(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    Cow::Owned(shown)
}

/// Whether it shows itself, and does nothing else.
pub(crate) fn is_harmless(c: char) -> bool {
    match c {
        '\t' | ' '..='~' => true,
        // Ends of lines and paragraphs (Zl, Zp), and the marks of notes between lines.
        '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' => false,
        _ => !c.is_control() && !is_default_ignorable(c),
    }
}

/// Unicode's property Default_Ignorable_Code_Point (DerivedCoreProperties.txt): what is not to be seen where it is not
/// understood. All marks of direction are among them. But for the selectors U+FE00 to U+FE0F.
fn is_default_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_commands_hides_or_turns() {
        for (text, shown) in [
            ("a\tb", "a\tb"),
            ("grüße, 你好 ❤\u{fe0f} e\u{301}", "grüße, 你好 ❤\u{fe0f} e\u{301}"),
            ("\u{1b}[2J\r\n\u{7f}\u{9b}1m", "\\u{1b}[2J\\u{d}\\u{a}\\u{7f}\\u{9b}1m"),
            ("x\u{202e}y\u{2066}z\u{61c}\u{200f}", "x\\u{202e}y\\u{2066}z\\u{61c}\\u{200f}"),
            ("one\u{2028}two\u{2029}\u{85}", "one\\u{2028}two\\u{2029}\\u{85}"),
            (
                "pay\u{200b}pal\u{200d}\u{2060}\u{feff}\u{ad}",
                "pay\\u{200b}pal\\u{200d}\\u{2060}\\u{feff}\\u{ad}",
            ),
            ("\u{e0001}\u{e0041}\u{e007f}\u{e0100}", "\\u{e0001}\\u{e0041}\\u{e007f}\\u{e0100}"),
            ("\u{3164}\u{fffa}", "\\u{3164}\\u{fffa}"),
        ] {
            assert_eq!(harmless(text), shown);
        }
        assert!(matches!(harmless("as it is"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_harmless(text: String) {
            let shown = harmless(&text);
            prop_assert!(shown.chars().all(is_harmless));
            prop_assert_eq!(harmless(&shown), shown.clone());
        }
    }
}
