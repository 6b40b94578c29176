"""A pyp2p Net for direct connections: `direct.py HOME NODE_TYPE SERVER_IP:PORT`.

Reports `unl` with its UNL, `connected` and `closed` with the peer's address and how it came about (`accept`,
`passive` or `simultaneous`), and `line` for each line received. A connection is reported once the Net shows it,
that is when its nonce is there. Commands on standard input:

    connect UNL         connects to a node; reports `outcome` with ok
    send TEXT           sends TEXT to every connection
    stop                closes everything and ends

In network namespaces, where home is the machine's address, P2POLL_WAN is the address outside, and P2POLL_SKEW by how many
seconds its clock is before the others.
"""

import os
import select
import sys
import time

import home

HOME, NODE_TYPE, SERVER = sys.argv[1:4]
WAN = os.environ.get("P2POLL_WAN", HOME)
home.settle(HOME)

import pyp2p.net
import pyp2p.sock
import pyp2p.unl

home.quiet(pyp2p.sock)
# UNLs that it reads would ask a web server for an address that they do not need.
pyp2p.unl.get_wan_ip = lambda *_: WAN
pyp2p.unl.log_exception = lambda *_: None

# How often it looks for what its threads have done.
TURN = 0.005


class Clock:
    """In place of pyp2p's, which asks time servers. It may be wrong, by so many seconds."""

    def __init__(self):
        self.wrong = float(os.environ.get("P2POLL_SKEW", "0"))

    def time(self):
        return time.time() + self.wrong


class Peers:
    """Which connections the Net shows, reported as they come and go."""

    def __init__(self, net):
        self.net = net
        self.known = {}

    def report(self):
        for node in self.net.inbound + self.net.outbound:
            key = id(node)
            if key not in self.known and node["con"].nonce is not None:
                # Keeping the node keeps its id from being used again.
                self.known[key] = node
                nonce = node["con"].nonce
                home.report("connected", peer=address(node), how=node["type"], nonce=nonce)
        for key in [key for key, node in self.known.items() if not node["con"].connected]:
            home.report("closed", peer=address(self.known.pop(key)))


def address(node):
    return "%s:%d" % (node["ip"], int(node["port"]))


def start():
    ip, port = SERVER.rsplit(":", 1)
    net = pyp2p.net.Net(
        net_type="direct",
        nat_type="preserving",
        node_type=NODE_TYPE,
        passive_bind=HOME,
        passive_port=0,
        wan_ip=WAN,
        sys_clock=Clock(),
        error_log_path=os.devnull,
        servers=[dict(addr=ip, port=int(port))],
    )
    net.disable_forwarding()
    net.start()
    return net


def obey(net, command):
    name, _, rest = command.partition(" ")
    if name == "connect":
        outcome = lambda ok: lambda _con: home.report("outcome", ok=ok)
        net.unl.connect(rest, dict(success=outcome(True), failure=outcome(False)))
    elif name == "send":
        net.broadcast(rest)
    elif name == "stop":
        net.stop()
        home.report("stopped")
        home.leave(0)
    home.report("done", step=name)


def main():
    net = start()
    peers = Peers(net)
    commands = home.CommandReader()
    home.report("unl", unl=net.unl.value)
    while True:
        for con in net:
            peers.report()
            for line in con:
                home.report("line", peer="%s:%d" % (con.addr, int(con.port)), line=line)
        peers.report()
        readable, _, _ = select.select([commands], [], [], TURN)
        if readable:
            for command in commands.read():
                obey(net, command)


main()
