//! Schedules that chance would hardly find, each for a rule that something rests on.

use super::super::Variant;
use super::*;

fn settings() -> Settings {
    Settings { list: 3, ..Settings::default() }
}

/// While it waits for its successor, a closer member notifies it and then one that lies further back: who is its predecessor?
fn predecessor_after_two_notices(variant: Variant) -> Option<Member> {
    let mut bench = Bench::new(Settings { variant, ..settings() }, 10, &[150, 200, 250]);
    let number = bench.until_asked(150);
    bench.hear(at(90), Message::Notify);
    bench.hear(at(50), Message::Notify);
    let list = List::new(at(150).place, &[at(200), at(250), at(10)], false).expect("in order");
    bench.hear(at(150), Message::Answer { number, predecessor: Some(at(100)), list });
    bench.ring.neighbours().predecessor()
}

#[test]
fn the_closest_notice_counts() {
    assert_eq!(predecessor_after_two_notices(Variant::Correct), Some(at(90)));
    // The known mistake is noticed by this.
    assert_eq!(predecessor_after_two_notices(Variant::LastNotifyWins), Some(at(50)));
}

#[test]
fn a_list_is_replaced_and_not_merged() {
    let mut bench = Bench::new(settings(), 10, &[150, 200, 250]);
    let number = bench.until_asked(150);
    let list = List::new(at(150).place, &[at(160), at(5), at(10)], false).expect("in order");
    bench.hear(at(150), Message::Answer { number, predecessor: Some(at(100)), list });
    assert_eq!(bench.ring.neighbours().list().members(), [at(150), at(160), at(5)]);
    // It is told in the end, although nothing has changed for it.
    assert!(bench.said().contains(&(at(150), Message::Notify)));
}

#[test]
fn nobody_is_taken_before_he_was_contacted() {
    let mut bench = Bench::new(settings(), 10, &[150, 200, 250]);
    let number = bench.until_asked(150);
    let list = List::new(at(150).place, &[at(200), at(250), at(10)], false).expect("in order");
    bench.hear(at(150), Message::Answer { number, predecessor: Some(at(120)), list });
    assert_eq!(bench.ring.neighbours().successor(), Some(at(150)));
    let number = bench.until_asked(120);
    let list = List::new(at(120).place, &[at(150), at(200), at(250)], false).expect("in order");
    bench.hear(at(120), Message::Answer { number, predecessor: Some(at(100)), list });
    assert_eq!(bench.ring.neighbours().list().members(), [at(120), at(150), at(200)]);
    // The new one is told, not the old one; and asked at once whether there is somebody closer still.
    let said = bench.said();
    assert!(
        matches!(said[..], [(first, Message::Notify), (then, Message::Ask { .. })] if first == at(120) && then == at(120))
    );
}

#[test]
fn a_closer_predecessor_is_kept_while_it_lives() {
    let mut bench = Bench::new(settings(), 50, &[150, 200, 250]);
    bench.hear(at(30), Message::Notify);
    let said = bench.said();
    let [(to, Message::Probe { number })] = said[..] else { panic!("{said:?}") };
    assert_eq!(to, at(50));
    bench.hear(at(50), Message::Alive { number, predecessor: None });
    assert_eq!(bench.ring.neighbours().predecessor(), Some(at(50)));
    // The next time it is silent, and probed twice before it is taken for dead.
    bench.hear(at(30), Message::Notify);
    let probes = bench.run_for(5 * SECOND).iter().filter(|(to, _)| *to == at(50)).count();
    assert_eq!((probes, bench.ring.neighbours().predecessor()), (2, Some(at(30))));
}

#[test]
fn who_is_at_something_says_so_unless_the_other_insists() {
    let mut bench = Bench::new(settings(), 50, &[150, 200, 250]);
    bench.hear(at(30), Message::Notify); // it probes
    bench.said();
    bench.hear(at(50), Message::Ask { number: 8, insists: false });
    bench.hear(at(50), Message::Ask { number: 16, insists: true });
    bench.hear(at(50), Message::Probe { number: 24 });
    let said = bench.said();
    assert!(matches!(
        said[..],
        [
            (_, Message::Busy { number: 8 }),
            (_, Message::Answer { number: 16, .. }),
            (_, Message::Alive { number: 24, .. })
        ]
    ));
}

#[test]
fn who_is_put_off_insists_in_the_end() {
    let mut bench = Bench::new(settings(), 50, &[150, 200, 250]);
    for _ in 0..3 {
        let number = bench.until_asked(150);
        bench.hear(at(150), Message::Busy { number });
        assert!(
            !bench.said().iter().any(|(_, message)| matches!(message, Message::Ask { .. })),
            "not at once"
        );
    }
    let said = bench.run_for(SECOND);
    assert!(matches!(said[0], (to, Message::Ask { insists: true, .. }) if to == at(150)), "{said:?}");
}

#[test]
fn another_life_at_the_same_place_is_somebody_else() {
    let mut bench = Bench::new(settings(), 50, &[150, 200, 250]);
    let again = |number: u8| Member { life: Life(2), ..at(number) };
    // The predecessor is back in a new life: the old one is asked, and that is over.
    bench.hear(again(50), Message::Notify);
    let said = bench.said();
    let [(to, Message::Probe { number })] = said[..] else { panic!("{said:?}") };
    assert_eq!(to, at(50));
    bench.hear(again(50), Message::Gone { number });
    assert_eq!(bench.ring.neighbours().predecessor(), Some(again(50)));
    // The successor is: what its new life answers to the old one's question counts for nothing.
    let number = bench.until_asked(150);
    let list = List::new(at(150).place, &[at(160)], false).expect("in order");
    bench.hear(again(150), Message::Answer { number, predecessor: None, list });
    assert_eq!(bench.ring.neighbours().successor(), Some(at(150)));
    bench.hear(again(150), Message::Gone { number });
    assert_eq!(bench.ring.neighbours().successor(), Some(at(200)));
}

#[test]
fn what_is_for_an_earlier_life_is_not_for_me() {
    let mut bench = Bench::new(settings(), 50, &[150, 200, 250]);
    let old = Life(77);
    bench.ring.handle_message(at(90), old, Message::Notify, bench.now);
    assert_eq!(bench.ring.neighbours().predecessor(), Some(at(50)));
    bench.ring.handle_message(at(90), old, Message::Ask { number: 8, insists: true }, bench.now);
    assert_eq!(bench.said(), [(at(90), Message::Gone { number: 8 })]);
}

#[test]
fn without_a_successor_one_is_no_member() {
    let mut bench = Bench::new(settings(), 50, &[150, 200, 250]);
    bench.hear(at(90), Message::Notify);
    let mut lost = false;
    let end = bench.now + 60 * SECOND;
    while let Some(at) = bench.ring.poll_timeout().filter(|&at| at <= end) {
        bench.now = bench.now.max(at);
        bench.ring.handle_timeout(bench.now);
        while let Some(action) = bench.ring.poll_action() {
            lost |= matches!(action, Action::Tell(Event::Lost));
        }
    }
    assert!(lost && !bench.ring.is_member());
    // It answers no look-up. Those before it learn that it is there, so that they are not lost as well.
    bench.hear(at(90), Message::Point { number: 8, key: at(95).place, last: true, dead: Vec::new() });
    bench.hear(at(90), Message::Ask { number: 16, insists: true });
    let nothing = Message::Answer { number: 16, predecessor: None, list: List::default() };
    assert_eq!(bench.said(), [(at(90), Message::Gone { number: 8 }), (at(90), nothing)]);
    // It looks for a way back through those it remembers, and takes the first that answers.
    let asked = bench.run_for(60 * SECOND);
    let has_asked = |who: u8| asked.iter().any(|(to, _)| to.place == at(who).place);
    assert!(has_asked(150) && has_asked(200) && has_asked(90), "{asked:?}");
    let number = bench.until_asked(200);
    let by = Member { life: Life(5), ..at(200) };
    let list = List::new(by.place, &[at(40)], false).expect("in order");
    bench.hear(by, Message::Answer { number, predecessor: None, list });
    assert!(bench.ring.is_member());
    assert_eq!(bench.ring.neighbours().successor(), Some(by));
}

#[test]
fn fingers_never_feed_the_ring() {
    let mut bench = Bench::new(settings(), 50, &[150, 200, 250]);
    let before = bench.ring.neighbours().list().clone();
    let mut fingers = Fingers::new(at(100).place);
    fingers.add(at(120));
    bench.ring.place_ideally(Life(1), (Some(at(50)), before.clone()), fingers.members(), bench.now);
    assert_eq!(bench.ring.fingers().members(), [at(120)]);
    assert_eq!(*bench.ring.neighbours().list(), before);
}
