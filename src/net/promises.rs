//! What the borrow checker promises, as examples that must not compile; each has a twin without the offending line
//! that must, so that none fails for another reason. Compiled for documentation tests only.
//!
//! They are documentation tests and no `trybuild` cases because those pin the compiler's messages word by word, which
//! change from version to version. Here the error's code is pinned, which the nightly compiler checks.
//!
//! # Polling inside a walk
//!
//! ```compile_fail,E0502
//! # use p2poll::Net;
//! fn turn(net: &mut Net) {
//!     for con in net.connections() {
//!         net.poll(None).unwrap();
//!     }
//! }
//! ```
//! ```
//! # use p2poll::Net;
//! fn turn(net: &mut Net) {
//!     for con in net.connections() {}
//!     net.poll(None).unwrap();
//! }
//! ```
//!
//! # Polling while lines are being read
//!
//! ```compile_fail,E0502
//! # use p2poll::{ConId, Net};
//! fn turn(net: &mut Net, id: ConId) {
//!     for line in net.con(id).unwrap().replies() {
//!         net.poll(None).unwrap();
//!     }
//! }
//! ```
//! ```
//! # use p2poll::{ConId, Net};
//! fn turn(net: &mut Net, id: ConId) {
//!     for line in net.con(id).unwrap().replies() {}
//!     net.poll(None).unwrap();
//! }
//! ```
//!
//! # Polling while events are being drained
//!
//! ```compile_fail,E0502
//! # use p2poll::Net;
//! fn turn(net: &mut Net) {
//!     for event in net.events() {
//!         net.poll(None).unwrap();
//!     }
//! }
//! ```
//! ```
//! # use p2poll::Net;
//! fn turn(net: &mut Net) {
//!     for event in net.events() {}
//!     net.poll(None).unwrap();
//! }
//! ```
//!
//! # Keeping a connection across a poll
//!
//! ```compile_fail,E0502
//! # use p2poll::Net;
//! fn turn(net: &mut Net) {
//!     let first = net.connections().next();
//!     net.poll(None).unwrap();
//!     first.unwrap().send_line("still there?").unwrap();
//! }
//! ```
//! ```
//! # use p2poll::Net;
//! fn turn(net: &mut Net) {
//!     let first = net.connections().next().map(|con| con.id());
//!     net.poll(None).unwrap();
//!     net.con(first.unwrap()).unwrap().send_line("still there?").unwrap();
//! }
//! ```
//!
//! # Keeping unread lines across a poll
//!
//! ```compile_fail,E0502
//! # use p2poll::Net;
//! fn turn(net: &mut Net) {
//!     let mut replies = net.connections().next().unwrap().replies();
//!     net.poll(None).unwrap();
//!     replies.next();
//! }
//! ```
//!
//! One that is kept, but not used any more, is in nobody's way:
//!
//! ```
//! # use p2poll::Net;
//! fn turn(net: &mut Net) {
//!     let mut replies = net.connections().next().unwrap().replies();
//!     replies.next();
//!     net.poll(None).unwrap();
//! }
//! ```
//!
//! # Keeping a line that was only lent
//!
//! ```compile_fail,E0521
//! # use p2poll::{ConId, LineRef, Net};
//! fn turn(net: &Net, id: ConId) {
//!     let mut kept = Vec::new();
//!     net.con(id).unwrap().for_each_line(|line| kept.push(line));
//! }
//! ```
//! ```
//! # use p2poll::{ConId, LineRef, Net};
//! fn turn(net: &Net, id: ConId) {
//!     let mut kept = Vec::new();
//!     net.con(id).unwrap().for_each_line(|line| kept.push(line.to_line()));
//! }
//! ```
//!
//! # Keeping lines that were read
//!
//! A line that was read is the application's, for as long as it likes:
//!
//! ```
//! # use p2poll::Net;
//! fn turn(net: &mut Net) -> p2poll::Line {
//!     let line = net.connections().next().unwrap().replies().next().unwrap();
//!     net.poll(None).unwrap();
//!     line
//! }
//! ```
//!
//! # Using a connection after the end of its `Net`
//!
//! ```compile_fail,E0505
//! # use p2poll::Net;
//! fn leave(net: Net) {
//!     let first = net.connections().next();
//!     drop(net);
//!     first.unwrap().close();
//! }
//! ```
//! ```
//! # use p2poll::Net;
//! fn leave(net: Net) {
//!     let first = net.connections().next();
//!     first.unwrap().close();
//!     drop(net);
//! }
//! ```
//!
//! # Sharing a `Net` between threads
//!
//! ```compile_fail,E0277
//! fn share<T: Sync>() {}
//! share::<p2poll::Net>();
//! ```
//!
//! Nor can what borrows one be sent away:
//!
//! ```compile_fail,E0277
//! fn send<T: Send>() {}
//! send::<p2poll::Con<'static>>();
//! ```
//! ```compile_fail,E0277
//! fn send<T: Send>() {}
//! send::<p2poll::Connections<'static>>();
//! ```
//!
//! The whole `Net` can, and what it gives away:
//!
//! ```
//! fn send<T: Send>() {}
//! send::<p2poll::Net>();
//! send::<p2poll::Rendezvous>();
//! send::<p2poll::Line>();
//! send::<p2poll::Event>();
//! send::<p2poll::ConId>();
//! ```
//!
//! # A filter that stays behind on another thread
//!
//! ```compile_fail,E0277
//! # fn set(net: &p2poll::Net) {
//! let local = std::rc::Rc::new(());
//! net.filter_inbound(move |_| std::rc::Rc::strong_count(&local) == 1);
//! # }
//! ```
//! ```
//! # fn set(net: &p2poll::Net) {
//! let shared = std::sync::Arc::new(());
//! net.filter_inbound(move |_| std::sync::Arc::strong_count(&shared) == 1);
//! # }
//! ```
