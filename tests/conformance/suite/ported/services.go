// SPDX-License-Identifier: Apache-2.0

// Package ported runs the conformance suite's tests of Gateways, their functions as they are, with Services as parents.
// Where a test has a Gateway, a Service of its name stands for it: in the manifests (this file), and in what the tests
// read from the API (client.go).
package ported

import (
	"bytes"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Behind a Service that stands for a Gateway are Pods of this name, which no test knows: what goes around the routes
// ends there.
const passedBy = "passed-by"

const httpPort = 3000 // of the suite's servers, at which they speak HTTP/1

var separator = regexp.MustCompile(`(?m)^---\s*$`)

// onServices is the suite's manifests, with Services instead of Gateways.
type onServices struct {
	fs.FS
	// Ports of its HTTP/1 servers say so, as those have to that clients of HTTP/2 are to reach.
	declared bool
}

func (f onServices) Open(name string) (fs.File, error) {
	text, err := f.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &file{name: name, size: int64(len(text)), Reader: bytes.NewReader(text)}, nil
}

func (f onServices) ReadFile(name string) ([]byte, error) {
	text, err := fs.ReadFile(f.FS, name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, document := range separator.Split(string(text), -1) {
		object := map[string]any{}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return nil, err
		}
		if object = f.onService(object); object == nil {
			continue
		}
		document, err := yaml.Marshal(object)
		if err != nil {
			return nil, err
		}
		out.WriteString("---\n")
		out.Write(document)
	}
	return out.Bytes(), nil
}

// onService is what stands for an object, nil for those that have no counterpart.
func (f onServices) onService(object map[string]any) map[string]any {
	spec, _ := object["spec"].(map[string]any)
	switch kind, _ := object["kind"].(string); {
	case kind == "Gateway":
		return serviceOf(object, spec)
	case kind == "GatewayClass" || kind == "":
		return nil
	case kind == "Service" && f.declared:
		for _, port := range list(spec["ports"]) {
			if port["appProtocol"] == nil && port["targetPort"] == float64(httpPort) {
				port["appProtocol"] = "http"
			}
		}
	case strings.HasSuffix(kind, "Route"):
		for _, ref := range list(spec["parentRefs"]) {
			if ref["kind"] == nil || ref["kind"] == "Gateway" {
				ref["group"], ref["kind"] = "", "Service"
			}
		}
	}
	return object
}

// serviceOf has one port for each of the Gateway's, with the name of the first listener there.
func serviceOf(object, spec map[string]any) map[string]any {
	var ports []any
	taken := map[[2]any]bool{}
	for _, listener := range list(spec["listeners"]) {
		port, protocol := listener["port"], "TCP"
		if listener["protocol"] == "UDP" {
			protocol = "UDP"
		}
		if !taken[[2]any{port, protocol}] {
			taken[[2]any{port, protocol}] = true
			ports = append(ports, map[string]any{
				"name": listener["name"], "port": port, "protocol": protocol, "targetPort": httpPort})
		}
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": object["metadata"],
		"spec": map[string]any{"selector": map[string]any{"app": passedBy}, "ports": ports},
	}
}

func list(value any) []map[string]any {
	var out []map[string]any
	values, _ := value.([]any)
	for _, v := range values {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// file is a text that was made, as an fs.File.
type file struct {
	*bytes.Reader
	name string
	size int64
}

func (f *file) Stat() (fs.FileInfo, error) { return f, nil }
func (f *file) Close() error               { return nil }
func (f *file) Name() string               { return f.name }
func (f *file) Size() int64                { return f.size }
func (f *file) Mode() fs.FileMode          { return 0o444 }
func (f *file) ModTime() time.Time         { return time.Time{} }
func (f *file) IsDir() bool                { return false }
func (f *file) Sys() any                   { return nil }
