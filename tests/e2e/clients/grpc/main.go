// SPDX-License-Identifier: Apache-2.0

// The interoperability cases of gRPC, by grpc-go's own client and server, and a load of calls.
//
//	grpc serve ADDR
//	grpc cases ADDR         each standard case; prints "ok NAME" for each, ends with the first that fails
//	grpc load ADDR N WIDTH  N unary calls, WIDTH at a time over one connection, and a stream of messages
//	                        beside them until they are through; prints "N ok, M failed, K messages"
//	grpc bench ADDR SECONDS CONNS WIDTH BYTES
//	                        unary calls, WIDTH at a time on each connection, whose answers have BYTES
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(addr string) {
	l, err := net.Listen("tcp", addr)
	fail(err)
	s := grpc.NewServer()
	pb.RegisterTestServiceServer(s, interop.NewTestServer())
	reflection.Register(s)
	fail(s.Serve(l))
}

func dial(addr string) *grpc.ClientConn {
	conn, err := grpc.Dial(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	fail(err)
	return conn
}

func cases(addr string) {
	conn := dial(addr)
	defer conn.Close()
	test := pb.NewTestServiceClient(conn)
	unknown := pb.NewUnimplementedServiceClient(conn)
	// A failed case ends the process.
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"empty_unary", func() { interop.DoEmptyUnaryCall(test) }},
		{"large_unary", func() { interop.DoLargeUnaryCall(test) }},
		{"client_streaming", func() { interop.DoClientStreaming(test) }},
		{"server_streaming", func() { interop.DoServerStreaming(test) }},
		{"ping_pong", func() { interop.DoPingPong(test) }},
		{"empty_stream", func() { interop.DoEmptyStream(test) }},
		{"timeout_on_sleeping_server", func() { interop.DoTimeoutOnSleepingServer(test) }},
		{"cancel_after_begin", func() { interop.DoCancelAfterBegin(test) }},
		{"cancel_after_first_response", func() { interop.DoCancelAfterFirstResponse(test) }},
		{"status_code_and_message", func() { interop.DoStatusCodeAndMessage(test) }},
		{"special_status_message", func() { interop.DoSpecialStatusMessage(test) }},
		{"custom_metadata", func() { interop.DoCustomMetadata(test) }},
		{"unimplemented_method", func() { interop.DoUnimplementedMethod(conn) }},
		{"unimplemented_service", func() { interop.DoUnimplementedService(unknown) }},
	} {
		c.run()
		fmt.Println("ok", c.name)
	}
}

// A stream for as long as the load lasts: an answer of one byte to each message.
func talk(test pb.TestServiceClient, done <-chan struct{}) (messages int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stream, err := test.FullDuplexCall(ctx)
	if err != nil {
		return 0, err
	}
	ask := &pb.StreamingOutputCallRequest{ResponseParameters: []*pb.ResponseParameters{{Size: 1}}}
	for {
		select {
		case <-done:
			return messages, stream.CloseSend()
		default:
		}
		if err = stream.Send(ask); err != nil {
			return messages, err
		}
		if _, err = stream.Recv(); err != nil {
			return messages, err
		}
		messages++
	}
}

func load(addr string, n, width int64) {
	conn := dial(addr)
	defer conn.Close()
	test := pb.NewTestServiceClient(conn)
	done := make(chan struct{})
	var workers, talker sync.WaitGroup
	var begun, ok, failed int64
	var messages int
	talker.Add(1)
	go func() {
		defer talker.Done()
		var err error
		if messages, err = talk(test, done); err != nil {
			fmt.Fprintln(os.Stderr, "stream:", err)
			atomic.AddInt64(&failed, 1)
		}
	}()
	for i := int64(0); i < width; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for atomic.AddInt64(&begun, 1) <= n {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				if _, err := test.EmptyCall(ctx, &pb.Empty{}); err != nil {
					fmt.Fprintln(os.Stderr, err)
					atomic.AddInt64(&failed, 1)
				} else {
					atomic.AddInt64(&ok, 1)
				}
				cancel()
			}
		}()
	}
	workers.Wait()
	close(done)
	talker.Wait()
	fmt.Printf("%d ok, %d failed, %d messages\n", ok, failed, messages)
	if failed != 0 {
		os.Exit(1)
	}
}

func bench(addr string, seconds, conns, width, size int64) {
	var workers sync.WaitGroup
	var ok, failed int64
	ask := &pb.SimpleRequest{ResponseSize: int32(size)}
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for i := int64(0); i < conns; i++ {
		conn := dial(addr)
		defer conn.Close()
		test := pb.NewTestServiceClient(conn)
		for k := int64(0); k < width; k++ {
			workers.Add(1)
			go func() {
				defer workers.Done()
				for time.Now().Before(end) {
					if _, err := test.UnaryCall(context.Background(), ask); err != nil {
						fmt.Fprintln(os.Stderr, err)
						atomic.AddInt64(&failed, 1)
						return
					}
					atomic.AddInt64(&ok, 1)
				}
			}()
		}
	}
	workers.Wait()
	fmt.Printf("%d ok, %d failed\n", ok, failed)
}

func numbers(args []string) []int64 {
	out := make([]int64, len(args))
	for i, arg := range args {
		n, err := strconv.ParseInt(arg, 10, 64)
		fail(err)
		out[i] = n
	}
	return out
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		serve(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "cases":
		cases(os.Args[2])
	case len(os.Args) == 5 && os.Args[1] == "load":
		n := numbers(os.Args[3:])
		load(os.Args[2], n[0], n[1])
	case len(os.Args) == 7 && os.Args[1] == "bench":
		n := numbers(os.Args[3:])
		bench(os.Args[2], n[0], n[1], n[2], n[3])
	default:
		fmt.Fprintln(os.Stderr, "usage: grpc serve ADDR | cases ADDR | load ADDR N WIDTH | bench ADDR SECONDS CONNS WIDTH BYTES")
		os.Exit(2)
	}
}
