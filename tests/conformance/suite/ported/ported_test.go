// SPDX-License-Identifier: Apache-2.0

package ported

import (
	"embed"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/roundtripper"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

//go:embed manifests
var embedded embed.FS

// Tests for which a client in the namespace of the routes is needed: theirs are a consumer's routes, which count there.
var consumers = map[string]bool{"HTTPRouteCrossNamespace": true, "OwnConsumerRoute": true}

var namespace = flag.String("client-namespace", "", "the namespace that this client runs in")

// TestMain leaves out, by the flag that is there for it, the cases that are not about Services.
func TestMain(m *testing.M) {
	flag.Parse()
	var skip []string
	for _, c := range leftOut {
		skip = append(skip, "^TestPorted(HTTP2)?$/^"+c.test+"$/"+c.pattern)
	}
	if err := flag.Set("test.skip", strings.Join(skip, "|")); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// The suite's tests, in its order, each after a line for the table of results.
func TestPorted(t *testing.T) {
	s := newSuite(t, false)
	sayLeftOut(t)
	for _, test := range slices.Concat(tests.ConformanceTests, own) {
		if consumers[test.ShortName] == (*namespace == suite.WebBackendNamespace) {
			run(t, s, test)
		}
	}
}

// Those that send requests of HTTP/1, with HTTP/2 instead.
func TestPortedHTTP2(t *testing.T) {
	s := newSuite(t, true)
	s.RoundTripper = overHTTP2{s.RoundTripper}
	for _, test := range tests.ConformanceTests {
		if !consumers[test.ShortName] && slices.Contains(test.Features, features.SupportHTTPRoute) &&
			!slices.Contains(test.Features, features.SupportHTTPRouteBackendProtocolWebSocket) {
			run(t, s, test)
		}
	}
}

func newSuite(t *testing.T, declared bool) *suite.ConformanceTestSuite {
	options := conformance.DefaultOptions(t)
	options.EnableAllSupportedFeatures = true
	options.DisableParallelTests = true // one Service stands for the Gateway of all of them
	options.Client = services{options.Client}
	manifests, err := fs.Sub(embedded, "manifests")
	require.NoError(t, err)
	options.ManifestFS = []fs.FS{onServices{conformance.Manifests, declared}, manifests}
	s, err := suite.NewConformanceTestSuite(options)
	require.NoError(t, err)
	s.Setup(t, tests.ConformanceTests)
	return s
}

func run(t *testing.T, s *suite.ConformanceTestSuite, test suite.ConformanceTest) {
	if strings.HasPrefix(test.ShortName, "Mesh") || notOfServices(test.ShortName) != "" {
		return // the suite itself runs those of meshes
	}
	t.Run(test.ShortName, func(t *testing.T) {
		describe(t, test)
		test.Run(t, s)
	})
}

// overHTTP2 sends with prior knowledge, over a connection for each request, as for HTTP/1.
type overHTTP2 struct{ roundtripper.RoundTripper }

func (o overHTTP2) CaptureRoundTrip(r roundtripper.Request) (
	*roundtripper.CapturedRequest, *roundtripper.CapturedResponse, error,
) {
	if r.Protocol != "HTTP" {
		return o.RoundTripper.CaptureRoundTrip(r)
	}
	r.Protocol = roundtripper.H2CPriorKnowledgeProtocol
	r.Headers = maps.Clone(r.Headers)
	r.Headers["Connection"] = []string{"close"} // for the client: it is not sent
	request, response, err := o.RoundTripper.CaptureRoundTrip(r)
	if err == nil && response.Protocol != "HTTP/2.0" {
		err = fmt.Errorf("answered in %s", response.Protocol)
	}
	return request, response, err
}

func describe(t *testing.T, test suite.ConformanceTest) {
	var needs []string
	for _, feature := range test.Features {
		if feature != features.SupportGateway {
			needs = append(needs, string(feature))
		}
	}
	say(t, "test", map[string]any{
		"name": test.ShortName, "features": needs, "manifests": test.Manifests, "about": test.Description})
}

// sayLeftOut says what is not run, and why.
func sayLeftOut(t *testing.T) {
	byReason := map[string][]string{}
	for _, test := range tests.ConformanceTests {
		if reason := notOfServices(test.ShortName); reason != "" {
			byReason[reason] = append(byReason[reason], test.ShortName)
		}
	}
	for _, group := range others {
		say(t, "tests-left-out", map[string]any{"reason": group.reason, "names": byReason[group.reason]})
	}
	for _, c := range leftOut {
		say(t, "cases-left-out", map[string]any{"name": c.test, "case": c.pattern, "reason": c.reason})
	}
}

// say prints a line for who makes the table.
func say(t *testing.T, what string, about map[string]any) {
	line, err := json.Marshal(about)
	require.NoError(t, err)
	fmt.Printf("\nported %s: %s\n", what, line)
}

// notOfServices is why a test is not run here, or nothing.
func notOfServices(name string) string {
	for _, group := range others {
		if regexp.MustCompile(group.pattern).MatchString(name) {
			return group.reason
		}
	}
	return ""
}
