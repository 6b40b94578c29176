"""pyp2p's rendezvous client code, a step at a time: `client.py HOME SERVER_IP:PORT`.

Commands on standard input, one a line; each is answered by one `done` report with the step's name and what
pyp2p's code made of it. The lines that went over the wire are reported as `sent` and `received`.

    bootstrap               nodes: what its Net would dial; of: its node type
    passive PORT MAX        ok
    source                  nat: the kind that it inferred; ports: the five source ports
    simultaneous            ok, predictions: registers and keeps the connection
    watch                   (no answer) from here on, challenges are taken between commands
    candidate IP            fight: [ip, ports, ntp] of the meeting, or null
    clear                   ok
"""

import os
import select
import sys
import time

import home

HOME = sys.argv[1]
SERVER_IP, SERVER_PORT = sys.argv[2].rsplit(":", 1)
home.settle(HOME)

import pyp2p.net
import pyp2p.sock

home.quiet(pyp2p.sock)
home.watch_wire(pyp2p.sock.Sock)


class Clock:
    """In place of pyp2p's, which asks time servers."""

    def time(self):
        return time.time()


class Meetings:
    """Stands where pyp2p would fight: the meeting is reported instead of attended."""

    def __init__(self):
        self.last = None

    def attend(self, _mappings, ip, predictions, ntp):
        self.last = [ip, predictions, str(ntp)]
        return None


def make_net(**options):
    net = pyp2p.net.Net(
        nat_type="preserving",
        passive_bind=HOME,
        passive_port=0,
        wan_ip=HOME,
        sys_clock=Clock(),
        error_log_path=os.devnull,
        servers=[{"addr": SERVER_IP, "port": int(SERVER_PORT)}],
        **options
    )
    net.disable_forwarding()
    net.rendezvous.attend_fight = MEETINGS.attend
    return net


MEETINGS = Meetings()
# Rendezvous by the p2p network, and by the direct connections, which alone may be simultaneous.
P2P = make_net(net_type="p2p", node_type="active")
DIRECT = make_net(net_type="direct", node_type="simultaneous")
DIRECT.disable_advertise()
DIRECT.start()


def bootstrap():
    nodes = []
    P2P.add_node = lambda ip, port, kind, timeout=5: nodes.append([kind, ip, int(port)])
    P2P.last_bootstrap = None
    P2P.bootstrap()
    return dict(nodes=nodes)


def passive(port, max_inbound):
    return dict(ok=P2P.rendezvous.passive_listen(int(port), int(max_inbound)))


def source():
    client = pyp2p.net.RendezvousClient(
        nat_type="unknown", rendezvous_servers=P2P.rendezvous_servers, sys_clock=Clock()
    )
    ports, parse = [], client.parse_remote_port

    def keep(reply):
        ports.append(parse(reply))
        return ports[-1]

    client.parse_remote_port = keep
    return dict(nat=client.determine_nat(), ports=ports)


def simultaneous():
    client = DIRECT.rendezvous
    ok = client.simultaneous_listen()
    return dict(ok=ok, predictions=client.predictions)


def candidate(ip):
    MEETINGS.last = None
    P2P.rendezvous.simultaneous_challenge(ip, 0, "TCP")
    return dict(fight=MEETINGS.last)


def clear():
    return dict(ok=P2P.rendezvous.leave_fight())


def take_challenges():
    MEETINGS.last = None
    DIRECT.synchronize()
    if MEETINGS.last is not None:
        home.report("accepted", meeting=MEETINGS.last)


STEPS = dict(
    bootstrap=bootstrap,
    passive=passive,
    source=source,
    simultaneous=simultaneous,
    candidate=candidate,
    clear=clear,
)


def main():
    commands = home.CommandReader()
    watching = False
    home.report("ready")
    while True:
        inputs = [commands]
        if watching and DIRECT.rendezvous.server_con is not None:
            if not DIRECT.rendezvous.server_con.connected:
                home.report("server_left")
                watching = False
            else:
                inputs.append(DIRECT.rendezvous.server_con.s)
        readable, _, _ = select.select(inputs, [], [])
        if commands in readable:
            for command in commands.read():
                name, *args = command.split()
                if name == "watch":
                    watching = True
                    continue
                home.report("done", step=name, **STEPS[name](*args))
        else:
            take_challenges()


main()
