//! What servers say of our NAT: the survey of it, and what it is taken for.

use super::{MANY, address};
use crate::proto::nat::kind::{SAMPLES, Sight, infer};
use crate::proto::nat::survey::{ROUND, Survey, SurveyAction};
use crate::random::Random;
use crate::reach::NatKind;
use crate::time::Instant;

/// Whatever observers answer, or leave out, a survey ends in time, and dials nobody but them, each from few ports. The first
/// byte chooses the observers; then each byte is something that happens, and those after it what comes.
pub fn survey(data: &[u8]) {
    let [choice, data @ ..] = data else { return };
    let second = (choice % 2 == 1).then(|| address(2));
    let mut now = Instant::ZERO;
    let mut survey = Survey::new(address(1), second, ROUND, Random::from_seed([1; 32]), now);
    let mut dialled = 0;
    take_survey_actions(&mut survey, &mut dialled);
    let mut rest = data;
    while let [what, more @ ..] = rest {
        let sample = usize::from(what % 16);
        rest = more;
        match what / 16 % 8 {
            0 => survey.handle_failed(sample, now),
            1 => now = now + ROUND / 16,
            2 => {
                let (line, after) = more.split_at(more.len().min(16));
                survey.handle_line(sample, line, now);
                rest = after;
            }
            3..=5 if more.len() >= 2 => {
                let port = u16::from_be_bytes([more[0], more[1]]);
                survey.handle_line(sample, format!("REMOTE TCP {port}").as_bytes(), now);
                rest = &more[2..];
            }
            _ => survey.handle_connected(sample, now),
        }
        survey.handle_timeout(now);
        take_survey_actions(&mut survey, &mut dialled);
        assert_eq!(survey.outcome().is_none(), survey.poll_timeout().is_some());
        assert!(survey.poll_timeout().is_none_or(|at| at > now), "an endless loop of timeouts");
    }
    // Two rounds at most.
    for _ in 0..2 {
        let Some(at) = survey.poll_timeout() else { break };
        survey.handle_timeout(at);
        take_survey_actions(&mut survey, &mut dialled);
    }
    assert!(survey.outcome().is_some(), "it never ends");
}

fn take_survey_actions(survey: &mut Survey, dialled: &mut usize) {
    for _ in 0..MANY {
        match survey.poll_action() {
            None => return,
            Some(SurveyAction::Dial { to, local_port, .. }) => {
                *dialled += 1;
                assert!([address(1), address(2)].contains(&to) && local_port >= 20_000);
                assert!(*dialled <= 2 * 2 * SAMPLES, "more than two rounds of two observers");
            }
            Some(SurveyAction::Send { bytes, .. }) => assert!(bytes.ends_with(b"\r\n")),
            Some(SurveyAction::Hangup { .. }) => {}
        }
    }
    panic!("an endless queue of actions");
}

/// Whatever ports are seen, the kind fits what was seen.
pub fn nat_kind(data: &[u8]) {
    let [choice, high, low, ports @ ..] = data else { return };
    let first_port = u16::from_be_bytes([*high, *low]);
    let sights: Vec<Sight> =
        ports.chunks_exact(2 * SAMPLES).take(1 + usize::from(choice % 2)).map(sight).collect();
    let own = |at: usize| first_port.checked_add(at as u16);
    let all_own = |sight: &Sight| (0..SAMPLES).all(|at| sight[at].is_some() && sight[at] == own(at));
    let kind = infer(first_port, &sights);
    if !sights.is_empty() && sights.iter().all(all_own) {
        assert_eq!(kind, Ok(NatKind::Preserving));
    }
    match kind {
        Ok(NatKind::Preserving) => {
            let kept = |sight: &Sight| (0..SAMPLES).any(|at| sight[at].is_some() && sight[at] == own(at));
            assert!(sights.iter().any(kept), "{sights:?}");
        }
        Ok(NatKind::Delta { step }) => assert_ne!(step, 0),
        Ok(NatKind::Reuse) => {
            let same = |at: &usize| sights[0][*at].is_some() && sights[0][*at] == sights[1][*at];
            assert!((0..SAMPLES).filter(same).count() + 2 >= SAMPLES, "{sights:?}");
        }
        Ok(NatKind::Random) | Err(_) => {}
    }
}

/// 0 is a sample without an answer.
fn sight(ports: &[u8]) -> Sight {
    let port =
        |at: usize| Some(u16::from_be_bytes([ports[2 * at], ports[2 * at + 1]])).filter(|port| *port != 0);
    std::array::from_fn(port)
}
