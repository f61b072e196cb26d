#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kube_server.py FOLDER: the e2e harness's API server for a unit test. Prints the kubeconfig's path when it listens; then
each line of standard input is a command, which is answered with a line of JSON:
apply OBJECT | delete KIND NAMESPACE NAME | count PATH [NAME=VALUE] | fault STATUS... | serve PLURAL VERSION... |
events TEXT (how many Events have it) | event_fault STATUS"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../e2e"))
from harness.kube_api import Api  # noqa: E402


def run(api, word, rest):
    if word == "apply":
        api.apply(json.loads(rest))
    elif word == "delete":
        api.delete(*rest.split())
    elif word == "fault":
        api.fault(*[int(status) for status in rest.split()])
    elif word == "serve":
        api.serve(*rest.split())
    elif word == "events":
        return sum(rest in json.dumps(e) for e in list(api.events.values()))
    elif word == "event_fault":
        api.event_fault = int(rest)
    elif word == "count":
        path, *query = rest.split()
        return api.count(path, **dict(q.split("=", 1) for q in query))
    else:
        raise ValueError(word)


server = Api(None, sys.argv[1], port=0).start()
print(server.kubeconfig(), flush=True)
for line in sys.stdin:
    print(json.dumps(run(server, *line.strip().split(" ", 1))), flush=True)
