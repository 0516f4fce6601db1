// Asks a server for everything that a client can verify, by Go's net/http over HTTP/2.
//
//	go-client URL CA.pem|- trailers|-
package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	size       = 10_000_000
	concurrent = 100
)

type client struct {
	http.Client
	base  string
	mutex sync.Mutex
	asked int
	ports map[string]bool
}

func main() {
	if len(os.Args) != 4 {
		fail("usage: go-client URL CA.pem|- trailers|-")
	}
	protocols := new(http.Protocols)
	transport := &http.Transport{Protocols: protocols}
	if os.Args[2] == "-" {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP2(true)
		pem, err := os.ReadFile(os.Args[2])
		check(err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	c := &client{base: os.Args[1], ports: map[string]bool{}}
	c.Transport = transport
	c.Timeout = time.Minute

	response, body := c.do("GET", "/hello", nil, nil)
	expect(string(body) == "hello\n", "body of /hello: %q", body)
	cookies := response.Header.Values("Set-Cookie")
	expect(fmt.Sprint(cookies) == "[a=1 b=2]", "repeated fields: %q", cookies)
	_, empty := response.Header["X-Empty"]
	expect(empty, "a field without value is lost")
	response, body = c.do("HEAD", "/hello", nil, nil)
	expect(len(body) == 0, "content after HEAD")
	for _, status := range []int{204, 304, 404, 503} {
		response, _ = c.do("GET", fmt.Sprintf("/status/%d", status), nil, nil)
		expect(response.StatusCode == status, "status %d instead of %d", response.StatusCode, status)
	}

	numbers := make([]byte, size)
	for at := range numbers {
		numbers[at] = byte(at % 251)
	}
	sum := fmt.Sprintf("%d %x", size, sha256.Sum256(numbers))
	_, body = c.do("POST", "/sum", bytes.NewReader(numbers), nil)
	expect(string(body) == sum, "upload of known length: %s", body)
	_, body = c.do("POST", "/sum", io.MultiReader(bytes.NewReader(numbers)), nil)
	expect(string(body) == sum, "upload of unknown length: %s", body)
	_, body = c.do("GET", fmt.Sprintf("/numbers?size=%d", size), nil, nil)
	expect(bytes.Equal(body, numbers), "download of %d bytes differs", len(body))
	if os.Args[3] == "trailers" {
		response, _ = c.do("GET", "/trailers", nil, http.Header{"Te": {"trailers"}})
		expect(response.Trailer.Get("X-Checksum") == "abc" && response.Trailer.Get("X-Last") == "yes",
			"trailers: %v", response.Trailer)
	}

	var group sync.WaitGroup
	for number := range concurrent {
		group.Add(1)
		go func() {
			defer group.Done()
			_, body := c.do("GET", fmt.Sprintf("/resource/%d", number), nil, nil)
			expect(string(body) == fmt.Sprintf("resource %d\n", number), "body of resource %d: %q", number, body)
		}()
	}
	group.Wait()
	expect(len(c.ports) == 1, "%d connections instead of 1", len(c.ports))
	fmt.Printf("%d requests, %d connection\n", c.asked, len(c.ports))
}

func (c *client) do(method, path string, content io.Reader, fields http.Header) (*http.Response, []byte) {
	request, err := http.NewRequest(method, c.base+path, content)
	check(err)
	for name, values := range fields {
		request.Header[name] = values
	}
	response, err := c.Do(request)
	check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(err)
	expect(response.ProtoMajor == 2, "%s by %s", path, response.Proto)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.asked++
	c.ports[response.Header.Get("X-Client-Port")] = true
	return response, body
}

func check(err error) {
	expect(err == nil, "%v", err)
}

func expect(condition bool, format string, values ...any) {
	if !condition {
		fail(format, values...)
	}
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}
