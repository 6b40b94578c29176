"""pyp2p's UNLs: `unl.py HOME`.

Commands on standard input, one a line; each is answered by one `done` report with the step's name and what
pyp2p's code made of it.

    make ID NODE_TYPE NAT FORWARDING PORT WAN LAN   text: the UNL (ID in hexadecimal, the kinds by their letters)
    read TEXT                                       fields: what is in it (the id in hexadecimal), or null
    dials TEXT OTHER                                answer: whether the first one's node is the master
"""

import sys
import types

import home

HOME = sys.argv[1]
home.settle(HOME)

from pyp2p.unl import UNL

NET = types.SimpleNamespace(
    passive_bind=HOME, interface="", node_type="p", nat_type="m", forwarding_type="m", passive_port=0
)


def make(node_id, node_type, nat, forwarding, port, wan, lan):
    # It takes the last letter of the NAT's name, and the first ones of the others.
    details = dict(
        node_id=bytes.fromhex(node_id),
        node_type=node_type,
        nat_type=nat,
        forwarding_type=forwarding,
        listen_port=int(port),
        wan_ip=wan,
        lan_ip=lan,
    )
    return dict(text=UNL(net=NET, wan_ip=wan).construct(details))


def read(text):
    fields = UNL(value=text, wan_ip=HOME).deconstruct()
    if fields is not None:
        fields["node_id"] = fields["node_id"].hex()
    return dict(fields=fields)


def dials(text, other):
    return dict(answer=bool(UNL(value=text, wan_ip=HOME).is_master(UNL(value=other, wan_ip=HOME).value)))


STEPS = dict(make=make, read=read, dials=dials)


def main():
    commands = home.CommandReader()
    home.report("ready")
    while True:
        for command in commands.read():
            name, *args = command.split()
            home.report("done", step=name, **STEPS[name](*args))


main()
