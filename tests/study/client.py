#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes requests of server.c, one at a time.

usage: client.py PORT REQUEST...     a request is a connection's number and a byte: 0s 1c 0x
"""

import socket
import sys

SECONDS = 60
LONG_ANSWER = {"o": 8}

port, requests = int(sys.argv[1]), sys.argv[2:]
connections = {name: socket.create_connection(("127.0.0.1", port), SECONDS)
               for name in sorted({request[0] for request in requests})}
for name, request in requests:
    connection = connections[name]
    connection.sendall(request.encode())
    if request == "i":
        connection.sendall(bytes(8))
    wanted = LONG_ANSWER.get(request, 1)
    while wanted > 0:
        answer = connection.recv(wanted)
        if not answer:
            sys.exit("client.py: the server closed the connection")
        wanted -= len(answer)
