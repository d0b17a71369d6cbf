"""What is ``poetry`` for a script: has the tests begin the command, and ends as it ends.

The socket where they listen, and the script that users execute, are told when this is
put on PATH (``tests.laboratory.on_path``). It is run without site-packages.
"""

from __future__ import annotations

import json
import os
import socket
import sys


NAMESPACE = "/proc/self/ns/mnt"


def main(place: str, executable: str) -> None:
    command = [executable, *sys.argv[1:]]
    if os.fstat(0).st_rdev == os.stat(os.devnull).st_rdev:  # no other is passed on
        order = {"command": command, "cwd": os.getcwd(), "env": dict(os.environ)}
        descriptors = [1, 2]
        if os.path.exists(NAMESPACE):  # where it sees other file systems mounted
            order["namespace"] = os.readlink(NAMESPACE)
            descriptors.append(os.open(NAMESPACE, os.O_RDONLY))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as tests:
            tests.connect(place)
            socket.send_fds(tests, [json.dumps(order).encode()], descriptors)
            said = tests.recv(100)
        if said:
            code = int(said)
            if code < 0:
                os.kill(os.getpid(), -code)
            os._exit(code)
    os.execv(executable, command)
