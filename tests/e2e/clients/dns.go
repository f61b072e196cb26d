// SPDX-License-Identifier: Apache-2.0

// dns SERVER NAME: prints what Go's own resolver gets.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
)

func main() {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, os.Args[1])
	}}
	addresses, err := resolver.LookupIP(context.Background(), "ip4", os.Args[2])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(addresses[0])
}
