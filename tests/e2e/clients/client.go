// SPDX-License-Identifier: Apache-2.0

// client URL N CONCURRENCY: N requests by Go's net/http, each with a body that has to come back
// whole; prints "N ok".
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
)

type seen struct {
	Target string `json:"target"`
	Digest string `json:"body_sha256"`
	Length int    `json:"body_len"`
}

func one(client *http.Client, url string, i int) error {
	body := bytes.Repeat([]byte{byte(i)}, i*37%70000)
	target := fmt.Sprintf("/go/%d", i)
	var reader io.Reader = bytes.NewReader(body)
	if i%2 == 1 {
		reader = io.MultiReader(reader) // length unknown: chunked
	}
	r, err := client.Post(url+target, "application/octet-stream", reader)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	var s seen
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if r.StatusCode != 200 || s.Target != target || s.Length != len(body) || s.Digest != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("request %d: status %d, seen %+v", i, r.StatusCode, s)
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

func main() {
	n, _ := strconv.Atoi(os.Args[2])
	concurrency, _ := strconv.Atoi(os.Args[3])
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: concurrency}}
	work := make(chan int)
	var wait sync.WaitGroup
	var mutex sync.Mutex
	ok := 0
	for w := 0; w < concurrency; w++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := range work {
				if err := one(client, os.Args[1], i); err != nil {
					fmt.Fprintln(os.Stderr, err)
					continue
				}
				mutex.Lock()
				ok++
				mutex.Unlock()
			}
		}()
	}
	for i := 0; i < n; i++ {
		work <- i
	}
	close(work)
	wait.Wait()
	fmt.Printf("%d ok\n", ok)
	if ok != n {
		os.Exit(1)
	}
}
