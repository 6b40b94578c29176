//! Puts what was printed into a page, between two lines that are comments in Markdown.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Replaces what the page has for that experiment.
pub fn replace(page: &Path, experiment: &str, section: &str) -> Result<()> {
    let text = std::fs::read_to_string(page)?;
    let replaced = replaced(&text, experiment, section)
        .ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("it has no place for {experiment:?}")))?;
    std::fs::write(page, replaced)
}

/// The page must have the two lines for it.
fn replaced(text: &str, experiment: &str, section: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {experiment} begins -->\n"), format!("<!-- {experiment} ends -->\n"));
    let from = text.find(&begin)? + begin.len();
    let to = from + text[from..].find(&end)?;
    Some(format!("{}{}{}", &text[..from], section, &text[to..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "head\n<!-- a begins -->\nold\n<!-- a ends -->\n<!-- b begins -->\n<!-- b ends -->\n";

    #[test]
    fn one_section_is_replaced() {
        let page = replaced(PAGE, "a", "new\n").expect("it has the lines");
        assert_eq!(page, PAGE.replace("old", "new"));
        assert_eq!(replaced(&page, "b", "").expect("it has the lines"), page);
    }

    #[test]
    fn a_page_without_the_lines_stays() {
        assert_eq!(replaced(PAGE, "c", "new\n"), None);
        assert_eq!(replaced("<!-- a ends -->\n<!-- a begins -->\n", "a", "new\n"), None);
    }
}
