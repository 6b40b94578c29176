//! Single words among others' bytes: the prompt of a probe, the answer to it, and the end of a relay.

use crate::wire::probe::{self, Prompt, is_answer, read_prompt};
use crate::wire::relay::{RelayEnd, closing_line, relay_closed};
use crate::wire::rendezvous::Token;

/// What is once decided about a prompt stays so, whatever comes later; only who has the nonce can say it.
pub fn probe_prompt(data: &[u8]) {
    let mut decided = Prompt::Begun;
    for length in 0..=data.len().min(2 * probe::LONGEST) {
        let now = read_prompt(&data[..length]);
        assert!(decided == Prompt::Begun || decided == now, "{decided:?}, then {now:?}");
        assert!(now != Prompt::Begun || length < probe::prompt().len());
        decided = now;
    }
    let nonce = Token::from_number(7);
    for line in data.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = probe::answer(&nonce);
        assert_eq!(is_answer(line, &nonce), text.strip_suffix(b"\r\n") == Some(line));
    }
}

/// A relay's last word is found behind whatever was relayed before it, and nowhere else.
pub fn relay_lines(data: &[u8]) {
    for line in data.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if relay_closed(line).is_some() {
            assert!(ENDS.iter().any(|end| line.ends_with(word(*end).as_slice())));
        }
        for end in ENDS {
            assert_eq!(relay_closed(&[line, &word(end)].concat()), Some(end));
        }
    }
}

const ENDS: [RelayEnd; 3] = [RelayEnd::Bytes, RelayEnd::Time, RelayEnd::Idle];

fn word(end: RelayEnd) -> Vec<u8> {
    closing_line(end).trim_ascii_end().to_vec()
}
