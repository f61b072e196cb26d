/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What sluicectl and the agent say to each other. A stream socket in the file system, mode 0600:
 * the client sends one JSON object on one line, {"command":"status"}, the agent answers with one
 * JSON object and closes. An error is {"error":{"message":"..."}}. New members may appear in any
 * object; readers ignore what they do not know. Members marked ? may be absent or null.
 *
 * status
 *	{"version": "0.1.0", "pid": 1, "uptime_seconds": 12,
 *	 "config": {"generation": 3, "source": "/etc/sluice/conf.d", "loaded_at"?: RFC 3339,
 *	            "objects": 17, "errors": [PROBLEM], "warnings": [PROBLEM]},
 *	 "workers": 2, "connections": {"active": 1, "total": 9},
 *	 "datapath": {"state": "attached" | "off", "cgroup"?: PATH,
 *	              "failure_policy"?: "open" | "closed", "heartbeat_age_ms"?: 120,
 *	              "steered": 9, "not_steered": {REASON: COUNT}},
 *	 "routes": [ROUTE], "netns": 4}
 *	PROBLEM: {"file"?, "line"?, "object"?: "HTTPRoute/ns/name", "field"?: "spec.rules[0]",
 *	          "message"}
 *
 * routes
 *	{"routes": [ROUTE]}
 *	ROUTE: {"kind": "HTTPRoute", "namespace", "name", "file"?, "line"?,
 *	        "parents": [{"parentRef": {"kind"?, "namespace"?, "name", "port"?, "sectionName"?},
 *	                     "controllerName", "conditions": [CONDITION]}],
 *	        "rules": [{"name", "matches": ["path /x, method GET"],
 *	                   "filters": ["RequestRedirect"],
 *	                   "backends": [{"name": "ns/name:port", "weight": 1, "endpoints": 3,
 *	                                 "ready": 2}]}],
 *	        "requests": 12}
 *	CONDITION: as in Gateway API: {"type", "status": "True" | "False" | "Unknown", "reason",
 *	           "message", "observedGeneration"?, "lastTransitionTime"?}
 *
 * services
 *	{"services": [{"namespace", "name", "clusterIPs": [IP],
 *	               "ports": [{"name"?, "port", "routed": true, "routes": ["HTTPRoute/ns/name"],
 *	                          "failure_policy": "open" | "closed", "endpoints": 3,
 *	                          "ready": 2}]}]}
 *
 * endpoints
 *	{"endpoints": [{"service": "ns/name:port", "address": "IP:port", "pod"?: "ns/name", "node"?,
 *	                "ready": true}]}
 *
 * check
 *	{"checks": [{"name": "kernel_btf", "ok": true, "required": true, "message": "..."}]}
 *
 * netns
 *	{"netns": [{"cookie": 4026531840, "name", "pod"?: "ns/name", "addresses": [IP],
 *	            "listeners": ["127.0.0.1:15001"], "state": "ready" | why it is not}]}
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
