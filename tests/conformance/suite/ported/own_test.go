// SPDX-License-Identifier: Apache-2.0

package ported

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	pb "sigs.k8s.io/gateway-api-conformance-images/echo-basic/grpcechoserver"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	confgrpc "sigs.k8s.io/gateway-api/conformance/utils/grpc"
	confhttp "sigs.k8s.io/gateway-api/conformance/utils/http"
	"sigs.k8s.io/gateway-api/conformance/utils/kubernetes"
	"sigs.k8s.io/gateway-api/conformance/utils/roundtripper"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

const (
	front = "same-namespace" // stands for the Gateway of that name
	infra = suite.InfrastructureNamespace
)

// Tests of what the suite has no test for, neither of meshes nor of Gateways.
var own = []suite.ConformanceTest{
	ownTest("OwnExternalAuth", "ExternalAuth", testExternalAuth),
	ownTest("OwnSessionPersistence", "sessionPersistence", testSessionPersistence),
	ownTest("OwnBackendRedirect", "RequestRedirect of a backendRef", testBackendRedirect),
	ownTest("OwnSharesOfErrors", "500 and 503 by weight", testSharesOfErrors),
	ownTest("OwnGRPCErrors", "UNIMPLEMENTED and UNAVAILABLE", testGRPCErrors),
	ownTest("OwnOtherAddresses", "addresses of Pods, headless Services", testOtherAddresses),
	ownTest("OwnOtherProtocols", "all ports: TCP and TLS pass", testOtherProtocols),
	ownTest("OwnOneConnection", "each request of a connection is balanced", testOneConnection),
	ownTest("OwnLiveChange", "a route comes and goes under a kept connection", testLiveChange),
	ownTest("OwnProducerRoute", "producer's and consumer's routes", testWhoseRoute(suite.InfraBackendServiceNameV1, infra)),
	ownTest("OwnConsumerRoute", "producer's and consumer's routes", testWhoseRoute("web-backend", suite.WebBackendNamespace)),
}

func ownTest(name, feature string, test func(*testing.T, *suite.ConformanceTestSuite)) suite.ConformanceTest {
	file := strings.ToLower(strings.TrimPrefix(name, "Own"))
	if file == "consumerroute" {
		file = "producerroute"
	}
	return suite.ConformanceTest{
		ShortName: name, Description: feature, Manifests: []string{"own/" + file + ".yaml"}, Test: test,
		Features: []features.FeatureName{},
	}
}

// accepted waits for HTTPRoutes of Service front and returns its address.
func accepted(t *testing.T, s *suite.ConformanceTestSuite, names ...string) string {
	var routes []types.NamespacedName
	for _, name := range names {
		routes = append(routes, types.NamespacedName{Name: name, Namespace: infra})
	}
	gateway := kubernetes.NewGatewayRef(types.NamespacedName{Name: front, Namespace: infra})
	return kubernetes.GatewayAndHTTPRoutesMustBeAccepted(t, s.Client, s.TimeoutConfig, s.ControllerName, gateway, routes...)
}

func expect(t *testing.T, s *suite.ConformanceTestSuite, address string, expected confhttp.ExpectedResponse) {
	t.Helper()
	confhttp.MakeRequestAndExpectEventuallyConsistentResponse(t, s.RoundTripper, s.TimeoutConfig, address, expected)
}

func expectBackend(t *testing.T, s *suite.ConformanceTestSuite, address, path, backend string) {
	t.Helper()
	expect(t, s, address, confhttp.ExpectedResponse{
		Request: confhttp.Request{Path: path}, Backend: backend, Namespace: infra})
}

// ask is one request: the status and, where a backend answered, its Pod.
func ask(c *http.Client, url string) (int, string, error) {
	response, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, "", err
	}
	var seen roundtripper.CapturedRequest
	if response.StatusCode == http.StatusOK {
		err = json.Unmarshal(body, &seen)
	}
	return response.StatusCode, seen.Pod, err
}

// tally is n requests by Pod, and by status where there is none.
func tally(t *testing.T, c *http.Client, url string, n int) map[string]int {
	counts := map[string]int{}
	for range n {
		status, pod, err := ask(c, url)
		require.NoError(t, err)
		if pod == "" {
			pod = http.StatusText(status)
		}
		counts[pod]++
	}
	return counts
}

// newClient keeps its connections and counts them.
func newClient(protocol func(*http.Protocols)) (*http.Client, *atomic.Int32) {
	dialled := &atomic.Int32{}
	only := &http.Protocols{}
	protocol(only)
	transport := &http.Transport{Protocols: only, Dial: func(network, address string) (net.Conn, error) {
		dialled.Add(1)
		return net.Dial(network, address)
	}}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}, dialled
}

func http1(p *http.Protocols) { p.SetHTTP1(true) }
func http2(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }

// Rules with these paths lead to a port that speaks the same.
var protocols = map[string]func(*http.Protocols){"/http1": http1, "/http2": http2}

// The server that is asked answers /status/NNN with NNN; the route has /status as its prefix.
func testExternalAuth(t *testing.T, s *suite.ConformanceTestSuite) {
	address := accepted(t, s, "external-auth")
	t.Run("who is let in reaches the backend", func(t *testing.T) {
		expectBackend(t, s, address, "/200", suite.InfraBackendServiceNameV1)
	})
	for path, status := range map[string]int{"/401": 401, "/403": 403} {
		t.Run("who is not gets "+http.StatusText(status), func(t *testing.T) {
			expect(t, s, address, confhttp.ExpectedResponse{
				Request: confhttp.Request{Path: path}, Response: confhttp.Response{StatusCode: status}})
		})
	}
	t.Run("a server that is not there lets nobody in", func(t *testing.T) {
		expect(t, s, address, confhttp.ExpectedResponse{
			Request: confhttp.Request{Path: "/nobody"}, Response: confhttp.Response{StatusCodes: []int{403, 500, 503}}})
	})
}

func testSessionPersistence(t *testing.T, s *suite.ConformanceTestSuite) {
	address := accepted(t, s, "session-persistence")
	for path, protocol := range protocols {
		expectBackend(t, s, address, path, suite.InfraBackendServiceNameV1)
		t.Run("with the cookie always the same Pod "+path[1:], func(t *testing.T) {
			c, _ := newClient(protocol)
			c.Jar, _ = cookiejar.New(nil)
			require.Len(t, tally(t, c, "http://"+address+path, 20), 1)
		})
		t.Run("without it all of them "+path[1:], func(t *testing.T) {
			c, _ := newClient(protocol)
			require.Len(t, tally(t, c, "http://"+address+path, 20), 2)
		})
	}
}

func testBackendRedirect(t *testing.T, s *suite.ConformanceTestSuite) {
	address := accepted(t, s, "backend-redirect")
	expect(t, s, address, confhttp.ExpectedResponse{
		Request:         confhttp.Request{Path: "/moved", UnfollowRedirect: true},
		Response:        confhttp.Response{StatusCode: 301},
		RedirectRequest: &roundtripper.RedirectRequest{Scheme: "https", Host: "example.org", Path: "/here"},
	})
}

func testSharesOfErrors(t *testing.T, s *suite.ConformanceTestSuite) {
	address := accepted(t, s, "shares-of-errors")
	expectBackend(t, s, address, "/ready", suite.InfraBackendServiceNameV3)
	c, _ := newClient(http1)
	for path, status := range map[string]int{"/missing": 500, "/without-endpoints": 503} {
		t.Run(path[1:], func(t *testing.T) {
			counts := tally(t, c, "http://"+address+path, 100)
			require.Len(t, counts, 2)
			require.InDelta(t, 25, counts[http.StatusText(status)], 2)
		})
	}
}

func testGRPCErrors(t *testing.T, s *suite.ConformanceTestSuite) {
	gateway := kubernetes.NewGatewayRef(types.NamespacedName{Name: front, Namespace: infra})
	address := kubernetes.GatewayAndRoutesMustBeAccepted(t, s.Client, s.TimeoutConfig, s.ControllerName, gateway,
		&gatewayv1.GRPCRoute{}, true, types.NamespacedName{Name: "grpc-errors", Namespace: infra})
	for name, expected := range map[string]confgrpc.ExpectedResponse{
		"no rule":     {EchoThreeRequest: &pb.EchoRequest{}, Response: confgrpc.Response{Code: codes.Unimplemented}},
		"no endpoint": {EchoTwoRequest: &pb.EchoRequest{}, Response: confgrpc.Response{Code: codes.Unavailable}},
		"a backend":   {EchoRequest: &pb.EchoRequest{}, Backend: "grpc-infra-backend-v1", Namespace: infra},
	} {
		t.Run(name, func(t *testing.T) {
			confgrpc.MakeRequestAndExpectEventuallyConsistentResponse(t, nil, s.TimeoutConfig, address, expected)
		})
	}
}

func testOtherAddresses(t *testing.T, s *suite.ConformanceTestSuite) {
	address := accepted(t, s, "other-addresses")
	expectBackend(t, s, address, "/", suite.InfraBackendServiceNameV2)
	var pods corev1.PodList
	require.NoError(t, s.Client.List(t.Context(), &pods, client.InNamespace(infra), client.MatchingLabels{"app": passedBy}))
	require.NotEmpty(t, pods.Items)
	t.Run("the address of a Pod behind the Service, which its headless Service too leads to", func(t *testing.T) {
		expectBackend(t, s, net.JoinHostPort(pods.Items[0].Status.PodIP, "3000"), "/", passedBy)
	})
	t.Run("a headless Service by its name", func(t *testing.T) {
		expectBackend(t, s, "headless-front."+infra+".svc.cluster.local:3000", "/", passedBy)
	})
	t.Run("a Service without routes", func(t *testing.T) {
		expectBackend(t, s, "infra-backend-v1."+infra+".svc.cluster.local:8080", "/", suite.InfraBackendServiceNameV1)
	})
}

func testOtherProtocols(t *testing.T, s *suite.ConformanceTestSuite) {
	host := "echo." + suite.MeshNamespace + ".svc.cluster.local"
	t.Run("HTTP is routed", func(t *testing.T) {
		fresh := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // one from before the route would stay as it is
		confhttp.AwaitConvergence(t, s.TimeoutConfig, func(time.Duration) bool {
			response, err := fresh.Get("http://" + host + "/")
			if err != nil {
				return false
			}
			defer response.Body.Close()
			return response.Header.Get("X-Routed") == "yes"
		})
	})
	t.Run("TCP is not touched", func(t *testing.T) {
		conn, err := net.Dial("tcp", host+":9090")
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = conn.Write([]byte("neither HTTP nor TLS\n"))
		require.NoError(t, err)
		lines := bufio.NewScanner(conn)
		for lines.Scan() && !strings.Contains(lines.Text(), "neither HTTP nor TLS") {
		}
		require.NoError(t, lines.Err())
		require.Contains(t, lines.Text(), "neither HTTP nor TLS")
	})
	t.Run("TLS ends at the Pod", func(t *testing.T) {
		conn, err := tls.Dial("tcp", host+":443", &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		defer conn.Close()
		require.NotEmpty(t, conn.ConnectionState().PeerCertificates)
	})
}

func testOneConnection(t *testing.T, s *suite.ConformanceTestSuite) {
	address := accepted(t, s, "one-connection")
	for path, protocol := range protocols {
		t.Run(path[1:], func(t *testing.T) {
			expectBackend(t, s, address, path, suite.InfraBackendServiceNameV1)
			c, dialled := newClient(protocol)
			counts := tally(t, c, "http://"+address+path, 20)
			require.Len(t, counts, 2)
			for _, n := range counts {
				require.InDelta(t, 10, n, 1)
			}
			require.EqualValues(t, 1, dialled.Load())
		})
	}
}

// A connection that came through the agent stays, and sees routes come and go.
func testLiveChange(t *testing.T, s *suite.ConformanceTestSuite) {
	address := accepted(t, s, "live-change")
	expectBackend(t, s, address, "/live", suite.InfraBackendServiceNameV1)
	c, dialled := newClient(http1)
	until := func(t *testing.T, backend string) {
		begin := time.Now()
		for {
			_, pod, err := ask(c, "http://"+address+"/live")
			require.NoError(t, err)
			if strings.HasPrefix(pod, backend) {
				break
			}
			require.Less(t, time.Since(begin), s.TimeoutConfig.MaxTimeToConsistency)
		}
		t.Logf("live after %d ms", time.Since(begin).Milliseconds())
		require.EqualValues(t, 1, dialled.Load())
	}
	until(t, suite.InfraBackendServiceNameV1)
	more := &gatewayv1.HTTPRoute{}
	more.Name, more.Namespace = "live-change-more", infra
	more.Spec.ParentRefs = []gatewayv1.ParentReference{{Name: front}}
	match := gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchExact), Value: new("/live")}
	backend := gatewayv1.HTTPBackendRef{}
	backend.Name, backend.Port = suite.InfraBackendServiceNameV2, new(gatewayv1.PortNumber(8080))
	more.Spec.Rules = []gatewayv1.HTTPRouteRule{{
		Matches: []gatewayv1.HTTPRouteMatch{{Path: &match}}, BackendRefs: []gatewayv1.HTTPBackendRef{backend}}}
	require.NoError(t, s.Client.Create(t.Context(), more))
	t.Run("a route comes", func(t *testing.T) { until(t, suite.InfraBackendServiceNameV2) })
	require.NoError(t, s.Client.Delete(t.Context(), more))
	t.Run("it goes", func(t *testing.T) { until(t, suite.InfraBackendServiceNameV1) })
}

// Of the same two routes the client's namespace decides.
func testWhoseRoute(backend, namespace string) func(*testing.T, *suite.ConformanceTestSuite) {
	return func(t *testing.T, s *suite.ConformanceTestSuite) {
		expect(t, s, accepted(t, s, "producer"), confhttp.ExpectedResponse{
			Request: confhttp.Request{Path: "/"}, Backend: backend, Namespace: namespace})
	}
}
