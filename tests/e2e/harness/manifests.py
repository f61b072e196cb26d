# SPDX-License-Identifier: Apache-2.0
"""Builders of Kubernetes and Gateway API objects, and a writer of YAML in block style."""
import json
import re
import time

_PLAIN = re.compile(r"^[A-Za-z_/][A-Za-z0-9_./-]*$")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def to_yaml(value, indent=0):
    pad = "  " * indent
    if isinstance(value, dict) and value:
        lines = []
        for k, v in value.items():
            if isinstance(v, (dict, list)) and v:
                lines.append(f"{pad}{_scalar(k)}:\n{to_yaml(v, indent + 1)}")
            else:
                lines.append(f"{pad}{_scalar(k)}: {_scalar(v)}\n")
        return "".join(lines)
    if isinstance(value, list) and value:
        lines = []
        for v in value:
            if isinstance(v, (dict, list)) and v:
                lines.append(f"{pad}- " + to_yaml(v, indent + 1).lstrip())
            else:
                lines.append(f"{pad}- {_scalar(v)}\n")
        return "".join(lines)
    return f"{pad}{_scalar(value)}\n"


def _scalar(v):
    if isinstance(v, str) and _PLAIN.match(v) and v.lower() not in _WORDS:
        return v
    return json.dumps(v)


def documents(objects):
    return "---\n".join(to_yaml(o) for o in objects)


def _meta(name, namespace, **extra):
    meta = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    meta.update({k: v for k, v in extra.items() if v})
    return meta


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def node(name="node-1", zone=None):
    labels = {"topology.kubernetes.io/zone": zone} if zone else None
    return {"apiVersion": "v1", "kind": "Node", "metadata": _meta(name, None, labels=labels)}


def port(number=80, target=8080, name="http", app_protocol=None, protocol="TCP"):
    p = {"name": name, "port": number, "targetPort": target, "protocol": protocol}
    if app_protocol:
        p["appProtocol"] = app_protocol
    return p


def service(name, ips, ports=None, ns="shop", annotations=None, **spec):
    ips = [ips] if isinstance(ips, str) else list(ips)
    body = {"clusterIP": ips[0], "clusterIPs": ips, "ports": ports or [port()], "type": "ClusterIP"}
    body.update(spec)
    return {"apiVersion": "v1", "kind": "Service", "metadata": _meta(name, ns, annotations=annotations),
            "spec": body}


def endpoint_slice(name, pods, ports=None, ns="shop", family=4, suffix="1", not_ready=(), ending=(),
                   places=None, hints=None):
    """One slice of a Service: pods of one family. ports as for service(); places: (node, zone) by pod, hints by pod."""
    endpoints = []
    for pod in pods:
        address = pod.v4 if family == 4 else pod.v6
        conditions = {"ready": pod not in not_ready and pod not in ending}
        if pod in ending:
            conditions.update(serving=True, terminating=True)
        node, zone = (places or {}).get(pod, ("node-1", None))
        endpoints.append({"addresses": [address], "conditions": conditions, "nodeName": node,
                          **({"zone": zone} if zone else {}),
                          **({"hints": hints[pod]} if hints and pod in hints else {}),
                          "targetRef": {"kind": "Pod", "name": pod.name, "namespace": pod.namespace}})
    slice_ports = [{"name": p["name"], "port": p["targetPort"], "protocol": p["protocol"],
                    **({"appProtocol": p["appProtocol"]} if "appProtocol" in p else {})}
                   for p in (ports or [port()])]
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": _meta(f"{name}-{family}-{suffix}", ns, labels={"kubernetes.io/service-name": name}),
            "addressType": "IPv4" if family == 4 else "IPv6", "endpoints": endpoints, "ports": slice_ports}


def pod(p, labels=None, ready=None):
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": p.name, "namespace": p.namespace, "uid": p.uid, **({"labels": labels} if labels else {})},
            "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "example/main"}]},
            "status": {"phase": "Running", "podIP": p.v4, "podIPs": [{"ip": ip} for ip in p.ips],
                       **({"conditions": [{"type": "Ready", "status": str(ready)}]} if ready is not None else {})}}


def policy(name, services, ns="shop", created=None, **spec):
    """A TrafficPolicy; services: names, (name, name of a port), or ("HTTPRoute/name", None)."""
    meta = _meta(name, ns)
    if created:
        meta["creationTimestamp"] = created
    refs = [(s, None) if isinstance(s, str) else s for s in ([services] if isinstance(services, str) else services)]
    return {"apiVersion": "policy.sluice.dev/v1alpha1", "kind": "TrafficPolicy", "metadata": meta,
            "spec": {"targetRefs": [{**_target(s), **({"sectionName": p} if p else {})} for s, p in refs], **spec}}


def _target(name):
    kind, slash, rest = name.partition("/")
    return {"group": "gateway.networking.k8s.io", "kind": kind, "name": rest} if slash else \
        {"group": "", "kind": "Service", "name": name}


def faults(name, target, *faults, seconds=3600, started=60, ns="shop", **spec):
    """A FaultInjection that began so long ago and ends in so many seconds. target: (kind, name[, section])."""
    kind, of, *section = target
    now = int(time.time())
    ref = {"group": "" if kind == "Service" else "gateway.networking.k8s.io", "kind": kind, "name": of,
           **({"sectionName": section[0]} if section else {})}
    return {"apiVersion": "policy.sluice.dev/v1alpha1", "kind": "FaultInjection", "metadata": _meta(name, ns),
            "spec": {"targetRefs": [ref], "startsAt": _moment(now - started), "expiresAt": _moment(now + seconds),
                     "faults": list(faults), **spec}}


def _moment(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def retry_budget(name, services, ns="shop", created=None, session=None, **constraint):
    """An XBackendTrafficPolicy. session: its sessionPersistence."""
    meta = _meta(name, ns)
    if created:
        meta["creationTimestamp"] = created
    return {"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackendTrafficPolicy", "metadata": meta,
            "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": s} for s in services],
                     "retryConstraint": constraint, **({"sessionPersistence": session} if session else {})}}


X_GROUP = "gateway.networking.x-k8s.io"


def xbackend(name, host=None, port=80, labels=None, ns="shop", **spec):
    """An XBackend: a host outside, or Pods by labels."""
    place = {"type": "ExternalHostname", "externalHostname": {"hostname": host}} if host else \
        {"type": "EndpointSelector", "endpointSelector": {"matchLabels": labels}}
    return {"apiVersion": f"{X_GROUP}/v1alpha1", "kind": "XBackend", "metadata": _meta(name, ns),
            "spec": {**place, "port": {"number": port}, **spec}}


def xref(name, **extra):
    """A backendRef to one."""
    return {"group": X_GROUP, "kind": "XBackend", "name": name, **extra}


def parent(name="web", ns=None, port=None, section=None):
    ref = {"group": "", "kind": "Service", "name": name}
    if ns:
        ref["namespace"] = ns
    if port:
        ref["port"] = port
    if section:
        ref["sectionName"] = section
    return ref


def route(name, rules, parents=None, ns="shop", created=None, kind="HTTPRoute", annotations=None, **spec):
    meta = _meta(name, ns, annotations=annotations)
    if created:
        meta["creationTimestamp"] = created
    parents = parents if parents is not None else [parent()]
    parents = [parent(p) if isinstance(p, str) else p for p in parents]
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": meta,
            "spec": {"parentRefs": parents, **spec, "rules": rules}}


def rule(matches=None, backends=None, filters=None, **extra):
    r = {}
    if matches is not None:
        r["matches"] = matches if isinstance(matches, list) else [matches]
    if filters is not None:
        r["filters"] = filters if isinstance(filters, list) else [filters]
    if backends is not None:
        backends = backends if isinstance(backends, list) else [backends]
        r["backendRefs"] = [backend(b) if isinstance(b, str) else b for b in backends]
    r.update(extra)
    return r


def backend(name, port=80, weight=None, ns=None, filters=None, **extra):
    b = {"name": name, "port": port}
    if weight is not None:
        b["weight"] = weight
    if ns:
        b["namespace"] = ns
    if filters:
        b["filters"] = filters if isinstance(filters, list) else [filters]
    b.update(extra)
    return b


def path(value, kind="PathPrefix"):
    return {"path": {"type": kind, "value": value}}


def exact(value):
    return path(value, "Exact")


def regex(value):
    return path(value, "RegularExpression")


def headers(*pairs, kind=None):
    return {"headers": [{**({"type": kind} if kind else {}), "name": n, "value": v} for n, v in pairs]}


def queries(*pairs, kind=None):
    return {"queryParams": [{**({"type": kind} if kind else {}), "name": n, "value": v} for n, v in pairs]}


def _pairs(d):
    return [{"name": n, "value": v} for n, v in d.items()]


def _modifier(field, kind, set, add, remove):
    body = {}
    if set:
        body["set"] = _pairs(set)
    if add:
        body["add"] = _pairs(add)
    if remove:
        body["remove"] = list(remove)
    return {"type": kind, field: body}


def request_headers(set=None, add=None, remove=None):
    return _modifier("requestHeaderModifier", "RequestHeaderModifier", set, add, remove)


def response_headers(set=None, add=None, remove=None):
    return _modifier("responseHeaderModifier", "ResponseHeaderModifier", set, add, remove)


def _path_modifier(full, prefix):
    if full is not None:
        return {"type": "ReplaceFullPath", "replaceFullPath": full}
    return {"type": "ReplacePrefixMatch", "replacePrefixMatch": prefix}


def redirect(full=None, prefix=None, **fields):
    body = dict(fields)
    if full is not None or prefix is not None:
        body["path"] = _path_modifier(full, prefix)
    return {"type": "RequestRedirect", "requestRedirect": body}


def rewrite(full=None, prefix=None, hostname=None):
    body = {}
    if hostname:
        body["hostname"] = hostname
    if full is not None or prefix is not None:
        body["path"] = _path_modifier(full, prefix)
    return {"type": "URLRewrite", "urlRewrite": body}


def cors(**fields):
    return {"type": "CORS", "cors": fields}


def mirror(name, port=80, ns=None, **fields):
    ref = {"name": name, "port": port, **({"namespace": ns} if ns else {})}
    return {"type": "RequestMirror", "requestMirror": {"backendRef": ref, **fields}}


def auth(name, protocol="HTTP", port=80, **fields):
    return {"type": "ExternalAuth",
            "externalAuth": {"protocol": protocol, "backendRef": {"name": name, "port": port}, **fields}}
