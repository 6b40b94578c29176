//! What is said on the connection by which a rendezvous server tries a port: one line each way.
//!
//! The server says [`PROMPT`] and nothing else, whoever listens there: the words are fixed, so nobody can make a server
//! say something to a third party. Who awaits a probe answers with the nonce that it gave the server on another
//! connection, and that the server keeps to itself: so only who asked can answer.

use crate::wire::rendezvous::Token;

/// What the server says, without the line end.
pub(crate) const PROMPT: &[u8] = b"~probe";

/// More than this before a line end is no answer to a probe, nor is it a prompt.
pub(crate) const LONGEST: usize = 128;

const END: &[u8] = b"\r\n";

/// The prompt with its line end.
pub(crate) fn prompt() -> Vec<u8> {
    [PROMPT, END].concat()
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// The prompt, with its line end.
    Whole,
    /// They may become it.
    Begun,
    /// Something else.
    None,
}

/// Whether it is a server that tries the port.
pub(crate) fn read_prompt(arrived: &[u8]) -> Prompt {
    let prompt = prompt();
    match arrived.strip_prefix(PROMPT) {
        Some(rest) if rest.starts_with(END) || rest.starts_with(b"\n") => Prompt::Whole,
        _ if prompt.starts_with(arrived) => Prompt::Begun,
        _ => Prompt::None,
    }
}

/// The answer that proves the nonce, with its line end.
pub(crate) fn answer(nonce: &Token) -> Vec<u8> {
    [PROMPT, b" ", nonce.as_bytes(), END].concat()
}

/// Whether a line, without its end, is exactly the answer that proves the nonce.
pub(crate) fn is_answer(line: &[u8], nonce: &Token) -> bool {
    answer(nonce).strip_suffix(END) == Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_answer_is_one() {
        let nonce = Token::new(b"0123456789abcdef0123456789abcdef").expect("it is short enough");
        assert_eq!(answer(&nonce), b"~probe 0123456789abcdef0123456789abcdef\r\n");
        assert!(is_answer(b"~probe 0123456789abcdef0123456789abcdef", &nonce));
        let other: [&[u8]; 6] = [
            b"",
            b"~probe",
            b"~probe 0123456789abcdef0123456789abcdee",
            b"~probe  0123456789abcdef0123456789abcdef",
            b"~probe 0123456789abcdef0123456789abcdef ",
            b"0123456789abcdef0123456789abcdef",
        ];
        assert!(other.iter().all(|line| !is_answer(line, &nonce)));
        assert_eq!(prompt(), b"~probe\r\n");
        assert_eq!(read_prompt(b"~probe\r\n"), Prompt::Whole);
        assert_eq!(read_prompt(b"~probe\n"), Prompt::Whole);
        assert!((0..8).all(|len| read_prompt(&b"~probe\r\n"[..len]) == Prompt::Begun));
        for other in ["~probes", "~probe \r\n", "~prob\n", "hello\r\n", "\n", "~probe\rx"] {
            assert_eq!(read_prompt(other.as_bytes()), Prompt::None, "{other:?}");
        }
        assert!(answer(&nonce).len() <= LONGEST);
    }
}
