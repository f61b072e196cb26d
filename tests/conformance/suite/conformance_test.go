// SPDX-License-Identifier: Apache-2.0

// Package suite is the Gateway API's official conformance suite as a test binary of this project; what is run, its
// flags say (see ../run).
package suite

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

func TestConformance(t *testing.T) {
	conformance.RunConformance(t)
}
