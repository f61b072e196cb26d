// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package h2spec names the conformance client that go.mod pins, so that it can be built from here.
package h2spec

import _ "github.com/summerwind/h2spec"
