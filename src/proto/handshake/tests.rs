use serde_json::{Value, json};

use super::*;
use HandshakeFault::{BadProof, Oneself, WrongNode};

fn alice() -> Key {
    Key::from_seed(&[1; 32])
}

fn bob() -> Key {
    Key::from_seed(&[2; 32])
}

fn mallory() -> Key {
    Key::from_seed(&[3; 32])
}

fn nonce(byte: u8) -> LinkNonce {
    LinkNonce::from_bytes([byte; 16])
}

/// Alice calls Bob.
fn dialling() -> Dialling {
    Dialling::new(Some(bob().id()), Some(CallId::from_bytes([7; 16])), false, nonce(1), 1000)
}

/// One of these faked, and the rest goes on as it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Hello,
    Answer,
    Proof,
}

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").expect("it has a line end")
}

/// The same line with another value in one field, `null` for none.
fn altered(line: &[u8], name: &str, value: &Value) -> Vec<u8> {
    let line = std::str::from_utf8(line).unwrap();
    let (word, object) = line.split_once(' ').unwrap();
    let mut object: serde_json::Map<String, Value> = serde_json::from_str(object).unwrap();
    match value {
        Value::Null => object.shift_remove(name),
        value => object.insert(name.to_owned(), value.clone()),
    };
    format!("{word} {}", Value::Object(object)).into_bytes()
}

/// What Alice and Bob make of each other, with somebody in between who may change each line.
fn meet(mut between: impl FnMut(Which, &[u8]) -> Vec<u8>) -> (Step, Option<Step>) {
    let alice_part = dialling();
    let line = alice_part.first_line(&alice());
    let hello = Hello::parse(&between(Which::Hello, without_end(&line))).expect("it is a hello still");
    let (bob_part, line) = Accepting::answer(&hello, &bob(), nonce(2), 2000);
    let alice_step = alice_part.handle_line(&between(Which::Answer, without_end(&line)), &alice());
    let bob_step = match &alice_step {
        Step::Proven { send: Some(line), .. } => {
            Some(bob_part.handle_line(&between(Which::Proof, without_end(line)), &bob()))
        }
        _ => None,
    };
    (alice_step, bob_step)
}

#[test]
fn two_nodes_prove_themselves_in_three_lines() {
    let mut order = Vec::new();
    let (alice_step, bob_step) = meet(|which, line| {
        order.push(which);
        line.to_vec()
    });
    assert!(
        matches!(alice_step, Step::Proven { peer, credit: 2000, send: Some(_) } if peer == bob().public())
    );
    assert_eq!(bob_step, Some(Step::Proven { peer: alice().public(), credit: 1000, send: None }));
    assert_eq!(order, [Which::Hello, Which::Answer, Which::Proof]);
}

#[test]
fn whoever_is_there_is_taken_where_nobody_is_expected() {
    let part = Dialling::new(None, None, false, nonce(1), 1000);
    let hello = Hello::parse(without_end(&part.first_line(&alice()))).unwrap();
    let (_, answer) = Accepting::answer(&hello, &mallory(), nonce(2), 2000);
    let step = part.handle_line(without_end(&answer), &alice());
    assert!(matches!(step, Step::Proven { peer, .. } if peer == mallory().public()));
}

#[test]
fn a_changed_line_proves_nothing() {
    let other_nonce = json!("99".repeat(16));
    let other_proof = json!("A".repeat(86));
    let mallorys = json!(mallory().public().to_string());
    let alices = json!(alice().public().to_string());
    let cases: [(Which, &str, &Value, HandshakeFault); 13] = [
        (Which::Hello, "nonce", &other_nonce, BadProof),
        (Which::Hello, "credit", &json!(1001), BadProof),
        (Which::Answer, "credit", &json!(1), BadProof),
        (Which::Hello, "call", &other_nonce, BadProof),
        (Which::Hello, "call", &Value::Null, BadProof),
        (Which::Hello, "use", &json!("upgrade"), BadProof),
        // Bob believes that he talks with Mallory, and Alice would believe that he does with her.
        (Which::Hello, "key", &mallorys, BadProof),
        (Which::Answer, "nonce", &other_nonce, BadProof),
        (Which::Answer, "proof", &other_proof, BadProof),
        (Which::Answer, "key", &mallorys, WrongNode),
        (Which::Answer, "key", &alices, Oneself),
        (Which::Proof, "proof", &other_proof, BadProof),
        (Which::Proof, "proof", &Value::Null, BadProof),
    ];
    for (which, name, value, fault) in cases {
        let (alice_step, bob_step) =
            meet(|this, line| if this == which { altered(line, name, value) } else { line.to_vec() });
        // What was said before the answer is found out with the answer.
        let found = if which == Which::Proof { bob_step.unwrap() } else { alice_step };
        assert_eq!(found, Step::Failed(fault), "{which:?} with another {name}: {value}");
    }
}

#[test]
fn what_a_later_version_adds_changes_nothing() {
    let (_, bob_step) = meet(|_, line| altered(line, "new", &json!({"x": [1]})));
    assert_eq!(bob_step, Some(Step::Proven { peer: alice().public(), credit: 1000, send: None }));
}

#[test]
fn no_call_is_not_the_call_of_zeros() {
    let part = Dialling::new(None, None, false, nonce(1), 1000);
    let line = part.first_line(&alice());
    let altered = altered(without_end(&line), "call", &json!("0".repeat(32)));
    let hello = Hello::parse(&altered).unwrap();
    assert_eq!(hello.call, Some(CallId::from_bytes([0; 16])));
    let (_, answer) = Accepting::answer(&hello, &bob(), nonce(2), 2000);
    assert_eq!(part.handle_line(without_end(&answer), &alice()), Step::Failed(BadProof));
}

#[test]
fn another_node_than_the_expected_one_is_refused_though_it_proves_itself() {
    let part = dialling();
    let hello = Hello::parse(without_end(&part.first_line(&alice()))).unwrap();
    let (_, answer) = Accepting::answer(&hello, &mallory(), nonce(2), 2000);
    assert_eq!(part.handle_line(without_end(&answer), &alice()), Step::Failed(WrongNode));
}

#[test]
fn the_answer_of_another_connection_is_no_answer() {
    let mut recorded = Vec::new();
    meet(|which, line| {
        if which == Which::Answer {
            recorded = line.to_vec();
        }
        line.to_vec()
    });
    assert!(matches!(dialling().handle_line(&recorded, &alice()), Step::Proven { .. }), "it is a good one");
    let later = Dialling { nonce: nonce(9), ..dialling() };
    assert_eq!(later.handle_line(&recorded, &alice()), Step::Failed(BadProof));
}

#[test]
fn the_proof_of_another_connection_is_no_proof() {
    let (mut hello, mut proof) = (Vec::new(), Vec::new());
    meet(|which, line| {
        match which {
            Which::Hello => hello = line.to_vec(),
            Which::Answer => {}
            Which::Proof => proof = line.to_vec(),
        }
        line.to_vec()
    });
    let hello = Hello::parse(&hello).unwrap();
    let (earlier, _) = Accepting::answer(&hello, &bob(), nonce(2), 2000);
    assert!(matches!(earlier.handle_line(&proof, &bob()), Step::Proven { .. }), "it is a good one");
    let (later, _) = Accepting::answer(&hello, &bob(), nonce(9), 2000);
    assert_eq!(later.handle_line(&proof, &bob()), Step::Failed(BadProof));
    // Nor with the same nonces at somebody else's.
    let (elsewhere, _) = Accepting::answer(&hello, &mallory(), nonce(2), 2000);
    assert_eq!(elsewhere.handle_line(&proof, &mallory()), Step::Failed(BadProof));
}

#[test]
fn an_answers_proof_handed_back_is_no_proof() {
    // Somebody who claims to be Bob himself has a proof of Bob's for the very same keys and nonces, of the other side.
    let hello = Hello { key: bob().public(), nonce: nonce(1), credit: 1000, call: None, upgrade: false };
    let (part, answer) = Accepting::answer(&hello, &bob(), nonce(2), 2000);
    let Answer { proof, .. } = Answer::parse(without_end(&answer)).unwrap();
    assert!(part.transcript.is_proven(Prover::Accepting, &proof));
    assert!(!part.transcript.is_proven(Prover::Dialling, &proof));
}

#[test]
fn our_own_words_back_are_ours() {
    let part = dialling();
    let hello = part.first_line(&alice());
    assert_eq!(part.handle_line(without_end(&hello), &alice()), Step::Failed(Oneself));
    // A connection to our own listener: the one machine says so with the answer, the other with the proof.
    let (accepting, answer) =
        Accepting::answer(&Hello::parse(without_end(&hello)).unwrap(), &alice(), nonce(2), 2000);
    assert_eq!(part.handle_line(without_end(&answer), &alice()), Step::Failed(Oneself));
    let proof = accepting.transcript.prove(Prover::Dialling, &alice());
    assert!(accepting.transcript.is_proven(Prover::Dialling, &proof));
    let line = Proof { proof }.print();
    assert_eq!(accepting.handle_line(without_end(&line), &alice()), Step::Failed(Oneself));
}

#[test]
fn lines_before_the_answer_are_the_applications() {
    let part = dialling();
    let hello = Hello::parse(without_end(&part.first_line(&alice()))).unwrap();
    let (_, answer) = Accepting::answer(&hello, &bob(), nonce(2), 2000);
    let strangers_hello = Dialling::new(None, None, false, nonce(5), 1000).first_line(&mallory());
    let proof = Proof { proof: [0; 64] }.print();
    let lines: [&[u8]; 9] = [
        b"",
        b"welcome",
        b"~",
        b"~~welcome",
        b"~hello {}",
        b"~hello there",
        b"~refused",
        without_end(&strangers_hello),
        without_end(&proof),
    ];
    for line in lines {
        assert_eq!(part.handle_line(line, &alice()), Step::Application, "{}", line.escape_ascii());
    }
    assert!(matches!(part.handle_line(without_end(&answer), &alice()), Step::Proven { .. }));
}

#[test]
fn a_refusal_comes_with_its_reason() {
    for why in [
        HelloRefusal::Busy,
        HelloRefusal::Unknown,
        HelloRefusal::Full,
        HelloRefusal::Identity,
        HelloRefusal::Closing,
    ] {
        let line = Refused { why }.print();
        let step = dialling().handle_line(without_end(&line), &alice());
        assert_eq!(step, Step::Failed(HandshakeFault::Refused(why)));
    }
}

#[test]
fn anything_but_the_proof_ends_it() {
    let hello = Hello { key: alice().public(), nonce: nonce(1), credit: 1000, call: None, upgrade: false };
    let (part, answer) = Accepting::answer(&hello, &bob(), nonce(2), 2000);
    for line in [b"", &b"hello"[..], b"~proof", b"~proof {}", b"~other {}", without_end(&answer)] {
        assert_eq!(part.handle_line(line, &bob()), Step::Failed(BadProof), "{}", line.escape_ascii());
    }
}
