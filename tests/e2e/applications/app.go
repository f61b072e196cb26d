// SPDX-License-Identifier: Apache-2.0

// app client IP PORT | server IP PORT | relay IP PORT IP PORT | reverse IP PORT IP PORT: the exchanges of
// README.md by net/http. relay copies between two connections (the runtime does it with splice(2)), reverse is
// httputil.ReverseProxy.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	prime = 65521
	large = 6000000
	slow  = 1500000
	half  = 50000
)

var block = func() []byte {
	b := make([]byte, prime)
	for j := range b {
		b[j] = byte(j*31 + (j>>3)*17 + (j>>8)*7)
	}
	return b
}()

func body(n int) []byte {
	return bytes.Repeat(block, n/prime+1)[:n]
}

// checker compares what is written to it.
type checker struct{ n int }

func (c *checker) Write(p []byte) (int, error) {
	for i := range p {
		if p[i] != block[(c.n+i)%prime] {
			return i, fmt.Errorf("wrong byte %d", c.n+i)
		}
	}
	c.n += len(p)
	return len(p), nil
}

// lines hides the length of a reader, so that it is sent in chunks.
type chunks struct{ io.Reader }

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Servers

func serve(addr string) {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		part := strings.Split(r.URL.Path, "/")
		n, _ := strconv.Atoi(part[2])
		if r.Method == "POST" {
			c := checker{}
			if _, err := io.Copy(&c, r.Body); err != nil {
				http.Error(w, err.Error(), 400)
				return
			}
			fmt.Fprintf(w, "%d ok", c.n)
			return
		}
		if part[1] == "down" {
			w.Header().Set("Content-Length", part[2])
			w.Write(body(n))
			return
		}
		w.(http.Flusher).Flush()
		for data := body(n); len(data) > 0; {
			m := 33333
			if m > len(data) {
				m = len(data)
			}
			w.Write(data[:m])
			data = data[m:]
		}
	})
	must(http.ListenAndServe(addr, nil))
}

func relay(addr, target string) {
	l, err := net.Listen("tcp", addr)
	must(err)
	for {
		c, err := l.Accept()
		must(err)
		go func() {
			s, err := net.Dial("tcp", target)
			if err != nil {
				c.Close()
				return
			}
			copyOneWay := func(to, from net.Conn, done chan bool) {
				io.Copy(to, from)
				to.(*net.TCPConn).CloseWrite()
				done <- true
			}
			done := make(chan bool, 2)
			go copyOneWay(s, c, done)
			go copyOneWay(c, s, done)
			<-done
			<-done
			c.Close()
			s.Close()
		}()
	}
}

func reverse(addr, target string) {
	u, err := url.Parse("http://" + target)
	must(err)
	must(http.ListenAndServe(addr, httputil.NewSingleHostReverseProxy(u)))
}

// The client

func get(addr, kind string, n int, pause time.Duration) {
	r, err := http.Get(fmt.Sprintf("http://%s/%s/%d", addr, kind, n))
	must(err)
	c := checker{}
	buf := make([]byte, 50000)
	for err == nil {
		var m int
		time.Sleep(pause)
		m, err = r.Body.Read(buf)
		_, wrong := c.Write(buf[:m])
		must(wrong)
	}
	if err != io.EOF || c.n != n || r.StatusCode != 200 {
		log.Fatal(err, c.n, r.Status)
	}
	r.Body.Close()
}

func post(addr string, n int, chunked bool) {
	var b io.Reader = bytes.NewReader(body(n))
	if chunked {
		b = chunks{b}
	}
	r, err := http.Post(fmt.Sprintf("http://%s/up/%d", addr, n), "application/octet-stream", b)
	must(err)
	said, err := io.ReadAll(r.Body)
	must(err)
	if string(said) != fmt.Sprintf("%d ok", n) {
		log.Fatal(string(said))
	}
}

func halfClose(addr string) {
	conn, err := net.Dial("tcp", addr)
	must(err)
	fmt.Fprintf(conn, "GET /down/%d HTTP/1.1\r\nHost: app\r\n\r\n", half)
	must(conn.(*net.TCPConn).CloseWrite())
	all, err := io.ReadAll(conn)
	must(err)
	at := bytes.Index(all, []byte("\r\n\r\n"))
	if !bytes.HasPrefix(all, []byte("HTTP/1.1 200 OK\r\n")) || !bytes.Equal(all[at+4:], body(half)) {
		log.Fatal("half-close: not the answer")
	}
}

func client(addr string) {
	ports := map[string]bool{}
	dialer := net.Dialer{}
	http.DefaultTransport.(*http.Transport).DialContext = func(ctx context.Context, network, a string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, a)
		if err == nil {
			ports[c.LocalAddr().String()] = true
		}
		return c, err
	}
	for _, n := range []int{0, 1, 100, 1000, 10000, 100000, 1000000} {
		get(addr, "down", n, 0)
		get(addr, "downc", n, 0)
		post(addr, n, false)
		post(addr, n, true)
	}
	post(addr, large, false)
	get(addr, "down", large, 0)
	get(addr, "down", slow, 5*time.Millisecond)
	if len(ports) != 1 {
		log.Fatal("not one connection: ", ports)
	}
	halfClose(addr)
	fmt.Println("ok")
}

func main() {
	a := os.Args
	addr := net.JoinHostPort(a[2], a[3])
	switch a[1] {
	case "client":
		client(addr)
	case "server":
		serve(addr)
	case "relay":
		relay(addr, net.JoinHostPort(a[4], a[5]))
	case "reverse":
		reverse(addr, net.JoinHostPort(a[4], a[5]))
	}
}
