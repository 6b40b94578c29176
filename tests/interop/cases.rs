//! The cases by name. What is tried, and what must come of it, is in the modules that they name.

use crate::Street;
use crate::driver::Python;
use crate::server::Server;
use crate::{clients, direct, nodes, typed, unls};

/// A named case. Panics when it fails.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

/// What a case needs to run.
#[derive(Debug)]
pub(crate) enum Run {
    WithPython(fn(&Python, Street)),
    Alone(fn(Street)),
}

macro_rules! cases {
    (python { $($name:ident = $run:expr,)* } alone { $($lone_name:ident = $lone_run:expr,)* }) => {
        /// All cases, in the order of their streets.
        pub(crate) const CASES: &[Case] = &[
            $(Case { name: stringify!($name), run: Run::WithPython($run) },)*
            $(Case { name: stringify!($lone_name), run: Run::Alone($lone_run) },)*
        ];
    };
}

cases! {
    python {
        // The controls.
        pyp2p_client_bootstraps_from_pyp2p_server =
            |python, street| clients::bootstraps(python, street, &Server::theirs(python, street)),
        pyp2p_client_registers_passive_at_pyp2p_server =
            |python, street| clients::registers_passive(python, street, &Server::theirs(python, street)),
        pyp2p_client_asks_source_port_of_pyp2p_server =
            |python, street| clients::asks_source_port(python, street, &Server::theirs(python, street)),
        pyp2p_clients_arrange_a_fight_at_pyp2p_server =
            |python, street| clients::arranges_a_fight(python, street, &Server::theirs(python, street)),
        pyp2p_client_clears_at_pyp2p_server =
            |python, street| clients::clears(python, street, &Server::theirs(python, street)),
        pyp2p_nets_talk_by_pyp2p_server =
            |python, street| nodes::theirs_talk(python, street, &Server::theirs(python, street)),
        typed_in_crlf_at_pyp2p_server =
            |python, street| typed::session(street, &Server::theirs(python, street), "\r\n"),

        // Their client, our server.
        pyp2p_client_bootstraps_from_our_server =
            |python, street| clients::bootstraps(python, street, &Server::ours(street)),
        pyp2p_client_registers_passive_at_our_server =
            |python, street| clients::registers_passive(python, street, &Server::ours(street)),
        pyp2p_client_asks_source_port_of_our_server =
            |python, street| clients::asks_source_port(python, street, &Server::ours(street)),
        pyp2p_clients_arrange_a_fight_at_our_server =
            |python, street| clients::arranges_a_fight(python, street, &Server::ours(street)),
        pyp2p_client_clears_at_our_server =
            |python, street| clients::clears(python, street, &Server::ours(street)),
        pyp2p_nets_talk_by_our_server =
            |python, street| nodes::theirs_talk(python, street, &Server::ours(street)),

        // Our client, their server.
        our_net_bootstraps_from_pyp2p_server =
            |python, street| nodes::bootstraps(street, &mut Server::theirs(python, street)),
        our_net_advertises_and_clears_at_pyp2p_server =
            |python, street| nodes::advertises_and_clears(street, &mut Server::theirs(python, street)),

        // Lines between nodes, either dialling the other, found through either server.
        our_net_dials_pyp2p_net_by_our_server =
            |python, street| nodes::ours_dials(python, street, &Server::ours(street)),
        our_net_dials_pyp2p_net_by_pyp2p_server =
            |python, street| nodes::ours_dials(python, street, &Server::theirs(python, street)),
        pyp2p_net_dials_our_net_by_our_server =
            |python, street| nodes::theirs_dials(python, street, &Server::ours(street)),
        pyp2p_net_dials_our_net_by_pyp2p_server =
            |python, street| nodes::theirs_dials(python, street, &Server::theirs(python, street)),

        // Direct connections, by a UNL of version 2.
        our_direct_net_connects_to_pyp2p_direct_net = direct::ours_connects,
        pyp2p_direct_net_connects_to_our_direct_net = direct::theirs_connects,

        // Values that go from hand to hand.
        pyp2p_unls_are_ours = unls::are_the_same,
    }
    alone {
        // The protocol by hand.
        typed_in_crlf_at_our_server = |street| typed::session(street, &Server::ours(street), "\r\n"),
        typed_in_lf_at_our_server = |street| typed::session(street, &Server::ours(street), "\n"),
        piped_in_lf_at_our_server = |street| typed::piped(street, &Server::ours(street), "\n"),
        a_direct_net_hides_who_has_not_sent_the_whole_nonce = direct::hides_until_the_nonce,
        extensions_typed_in_lf_at_our_server = |street| typed::extensions(street, &Server::ours(street), "\n"),
    }
}
