// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package grpcurl names the client that go.mod pins, so that it can be built from here.
package grpcurl

import _ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
