/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What sluicectl and the agent say to each other. A stream socket in the file system, mode 0600:
 * the client sends one JSON object on one line, {"command":"status"}, the agent answers with one
 * JSON object and closes. An error is {"error":{"message":"..."}}. New members may appear in any
 * object; readers ignore what they do not know. Members marked ? may be absent or null.
 *
 * status
 *	{"version": "0.1.0", "pid": 1, "pod"?: $POD_NAME, "uptime_seconds": 12,
 *	 "config": {"generation": 3, "source": "/etc/sluice/conf.d", "loaded_at"?: RFC 3339,
 *	            "objects": 17, "errors": [PROBLEM], "warnings": [PROBLEM]},
 *	 "workers": 2, "connections": {"active": 1, "total": 9},
 *	 "datapath": {"state": "attached" | "off", "cgroup"?: PATH,
 *	              "failure_policy"?: "open" | "closed", "heartbeat_age_ms"?: 120,
 *	              "steered": 9, "not_steered": {REASON: COUNT},
 *	              "udp"?: {"flows": 9, "refused": 0 datagrams},
 *	              "tcp_by_kernel"?: {"connections": 9, "refused": 0}},
 *	 "splice": {"state": "on" | "off", "why"?: it is off, "detector"?: "fentry", ..., "active"?:
 *2 (connections), "total"?: 9, "left"?: {REASON: COUNT}, "never"?: {REASON: COUNT}}, "routes":
 *[ROUTE], "netns": 4} PROBLEM: {"file"?, "line"?, "object"?: "HTTPRoute/ns/name", "field"?:
 *"spec.rules[0]", "message"}
 *
 * routes
 *	{"routes": [ROUTE]}
 *	ROUTE: {"kind": "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute" | "UDPRoute" |
 *	                "TrafficPolicy", "FaultInjection" or "XBackendTrafficPolicy"
 *	                (parentRef is its targetRef; no rules, no requests),
 *	        "namespace", "name", "file"?, "line"?,
 *	        "parents": [{"parentRef": {"kind"?, "namespace"?, "name", "port"?,
 *	                                   "sectionName"?},
 *	                     "controllerName", "conditions": [CONDITION]}],
 *	        "rules": [{"name", "matches": ["path /x, method GET"],
 *	                   "filters": ["RequestRedirect"],
 *	                   "backends": [{"name": "ns/name:port", "weight": 1, "endpoints": 3,
 *	                                 "ready": 2}]}],
 *	        "requests": 12, of TLSRoutes and TCPRoutes: connections, of UDPRoutes: 0,
 *	        "shadow"?: of one that is not enforced: {"evaluated": requests of its Services,
 *	                   "matched": that it would have taken, "differs": of these}}
 *	CONDITION: as in Gateway API: {"type", "status": "True" | "False" | "Unknown", "reason",
 *	           "message", "observedGeneration"?, "lastTransitionTime"?}
 *
 * services
 *	{"services": [{"namespace", "name", "clusterIPs": [IP],
 *	               "ports": [{"name"?, "port", "protocol": "TCP" | "UDP" | "SCTP", "routed":
 *true, "routes": ["HTTPRoute/ns/name"], "failure_policy": "open" | "closed", "endpoints": 3,
 *	                          "ready": 2}]}]}
 *
 * endpoints
 *	{"endpoints": [{"service": "ns/name:port", or "ns/name:port HTTPRoute/ns/name" as the
 *	                requests of a route with a TrafficPolicy of its own have it,
 *	                "address": "IP:port", "pod"?: "ns/name", "node"?,
 *	                "zone"?, "ready": true, "ending": false (not ready, but still serving),
 *	                "used": true when requests of this node go there,
 *	                of a Service with a TrafficPolicy: "ejected"?: true, "requests"?: 3,
 *	                "connections"?: 5}]}
 *	"ready" in the numbers of a backend or a port counts those that are used. "ns/name:port" of
 *	a UDP port ends with "/udp", here and below.
 *
 * check
 *	{"checks": [{"name": "kernel_btf", "ok": true, "required": true, "message": "..."}]}
 *
 * netns
 *	{"netns": [{"cookie": 4026531840, "name", "pod"?: "ns/name", "addresses": [IP],
 *	            "listeners": ["127.0.0.1:15001"], "state": "ready" | why it is not}]}
 *
 * explain: what would become of a request, by the configuration in force; nothing is sent
 *	question: {"command": "explain", "source"?: "ns/pod" or "ns", "service": "ns/name:port" or
 *	           "name.ns:port" or "IP:port" (port 80 when none), "method"?: "GET", "target"?:
 *"/", "authority"?, "headers"?: [["Name", "value"]], "scheme"?: "http" | "https" | "tcp" |
 *"udp"}
 *	{"namespace", "pod"?, "note"?: why the Pod is not known to the agent,
 *	 "service"?: "ns/name:port", "address"?: "IP:port",
 *	 "table": "producer" | "consumer" | "none",
 *	 "request"?: {"method", "target", "path": normalised, "query", "authority"},
 *	 "rules"?: [{"route": "HTTPRoute/ns/name", "rule", "match": "PathPrefix /x, method GET",
 *	             "verdict": "takes" | "later": fits too, but is not the first |
 *	                        the first condition that fails: "path", "method", "header", "query",
 *	             "condition"?: "header a = b", "have"?: the request's value,
 *	             "limit"?: true when a regular expression passed its limit}] by precedence, a
 *rule once for each of its matches, "rules_left_out"?: 12, "rule"?: {"route", "name", "filters":
 *[TEXT], "request_timeout_ms", "backend_request_timeout_ms": 0 for none, "retry"?: {"attempts",
 *"codes": [503], "backoff_ms"?: unless the agent chooses}, "session"?: {"type": "Cookie" |
 *"Header", "name", "absolute_timeout_ms", "idle_timeout_ms": 0 for none}, "faults"?:
 *"FaultInjection/ns/name: 5 of 100 are answered 503, until 2026-01-02T03:04:05Z"}, "result":
 *{"kind": "pass_through", "reason"} | {"kind": "answer", "status", "grpc_status"?, "reason"} |
 *	           {"kind": "connection", "enforced_by"?: the route asks for the kernel: "kernel" |
 *	           "agent", "enforced_by_why"?: why the agent} | {"kind": "flow"} | {"kind":
 *"refused", "reason"} |
 *	           {"kind": "redirect", "status", "location"} | {"kind": "preflight", "status"} |
 *	           {"kind": "backends", "path",
 *	           "authority"},
 *	 "backends"?: [{"name": "ns/name:port", "weight", "share": 0.25, "resolved": true,
 *	                "endpoints": 3, "ready": 2, "addresses"?: ["IP:port"], "filters": [TEXT],
 *	                "path"?, "authority"?, "kind"?, "location"?, "status"?: what it answers
 *	                instead,
 *	                "refused"?: true, of connections,
 *	                "balancing"?: "TrafficPolicy/ns/name: LeastRequest, maxRequests 9",
 *	                "retry_budget"?: "XBackendTrafficPolicy/ns/name: 20 % in 10000 ms, or 10
 *	                in 1000 ms",
 *	                "faults"?: as of the rule,
 *	                "tls"?: {"policy": "ns/name", "hostname"? | "refused"?: true}}],
 *	 "server_name"?: of SNI,
 *	 "shadow"?: of the Service's shadow routes: {"verdict": "unaffected" | "same" | "differs",
 *	            "differs": ["answer" | "backends" | "path" | "filters" | "timeouts" | "retry" |
 *	            "session"], "rules": as above, and if it would be affected "rule"?, "result",
 *	            "backends"?}}
 *
 * conns: the connections of clients that are open, asked of the workers
 *	question: {"command": "conns", "source"?: "ns/pod" or "ns", "limit"?: 1000 (0: all)}
 *	{"connections": [{"id": the same in every answer, "worker": 0, "client": "IP:port",
 *	                  "pod": "ns/name", "service": "ns/name:port", "original": "IP:port",
 *	                  "state": "detect" (what is spoken) | "idle" | "reading" (a request) |
 *	                  "paused" (a filter waits for somebody) | "connecting" | "waiting" (for the
 *answer) | "responding" | "answering" (by the agent itself) | "done" | "tunnel" | "closing",
 *"protocol": "HTTP/1.1", "age_ms": 12, "requests": 3, "received": bytes, "sent": bytes, "method"?,
 *"authority"?, "path"?, "route"?, "rule"?, "splice": "plain" | "candidate" | "spliced" | "leaving"
 *| "left" (to TCP, for good), "splice_why"?: why it is plain or left, "endpoint_splice"?,
 *"endpoint_splice_why"?: the same of the connection to the endpoint, "request_age_ms"?,
 *"endpoint"?: "IP:port"}], "total": 12, "left_out": true when the limit cut the list,
 *"workers_missing": 0 of those that did not answer in time}
 *
 * metrics
 *	{"text": "Prometheus text format 0.0.4"}
 *
 * version
 *	{"version": "0.1.0"}
 */

#define SL_ADMIN_SOCKET		   "/run/sluice/admin.sock" /* default */
#define SL_ADMIN_MAX_REQUEST_BYTES 65536		    /* the line feed included */
#define SL_ADMIN_METRICS_PORT	   15020		    /* default, on 127.0.0.1 */
