// Command peer is the other side of the interop specs: hashicorp/yamux, driven by JSON lines.
//
// It makes one yamux session over one TCP connection to loopback, takes one command per line on stdin and answers each
// with a line on stdout that carries the same "id"; lines with "event" report what happened unasked. What the
// acceptor of a stream does is said by the first line of that stream (see work.go), whichever side opened it.
// It ends when stdin ends, so that it cannot outlive the spec that started it.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// message is one JSON line in either direction.
type message map[string]interface{}

var (
	stdoutLock sync.Mutex
	stdout     = json.NewEncoder(os.Stdout)
)

func emit(line message) {
	stdoutLock.Lock()
	defer stdoutLock.Unlock()
	if err := stdout.Encode(line); err != nil {
		os.Exit(1)
	}
}

// logLines turns what yamux logs into events: a spec can then demand that it had nothing to complain about.
type logLines struct{}

func (logLines) Write(text []byte) (int, error) {
	emit(message{"event": "log", "text": strings.TrimSpace(string(text))})
	return len(text), nil
}

// command is one line from stdin; which fields count depends on Name.
type command struct {
	ID          int    `json:"id"`
	Name        string `json:"command"`
	Verb        string `json:"verb"`
	Count       int    `json:"count"`
	Concurrency int    `json:"concurrency"`
	Bytes       int    `json:"bytes"`
}

// peer is the session with the gates that specs open by command.
type peer struct {
	session *yamux.Session
	tap     *tap
	accept  chan struct{} // closed: streams are accepted
	release chan struct{} // closed: streams of verb "hold" are read
}

func main() {
	listen := flag.String("listen", "", "address to listen on for one connection")
	connect := flag.String("connect", "", "address to connect to")
	role := flag.String("role", "server", "yamux role: client or server")
	backlog := flag.Int("backlog", 256, "streams that may wait to be accepted")
	windowBytes := flag.Int("window-bytes", 256*1024, "receive window of a stream")
	keepAliveMs := flag.Int("keepalive-ms", 0, "time between pings, 0 for none")
	writeTimeoutMs := flag.Int("write-timeout-ms", 20000, "limit of a write to the connection and of a ping")
	gated := flag.Bool("gated", false, "accept no stream before the command accept")
	flag.Parse()

	connection, err := transport(*listen, *connect)
	if err != nil {
		emit(message{"event": "failed", "error": err.Error()})
		os.Exit(1)
	}

	config := yamux.DefaultConfig()
	config.AcceptBacklog = *backlog
	config.MaxStreamWindowSize = uint32(*windowBytes)
	config.EnableKeepAlive = *keepAliveMs > 0
	if config.EnableKeepAlive {
		config.KeepAliveInterval = time.Duration(*keepAliveMs) * time.Millisecond
	}
	config.ConnectionWriteTimeout = time.Duration(*writeTimeoutMs) * time.Millisecond
	config.LogOutput = nil
	config.Logger = log.New(logLines{}, "", 0)

	p := &peer{tap: newTap(connection), accept: make(chan struct{}), release: make(chan struct{})}
	if !*gated {
		close(p.accept)
	}
	if *role == "client" {
		p.session, err = yamux.Client(p.tap, config)
	} else {
		p.session, err = yamux.Server(p.tap, config)
	}
	if err != nil {
		emit(message{"event": "failed", "error": err.Error()})
		os.Exit(1)
	}
	emit(message{"event": "session"})
	go p.acceptStreams()

	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			emit(message{"event": "failed", "error": err.Error()})
			os.Exit(1)
		}
		go p.run(c)
	}
}

func transport(listen, connect string) (net.Conn, error) {
	if connect != "" {
		return net.DialTimeout("tcp", connect, 10*time.Second)
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	emit(message{"event": "listening", "port": listener.Addr().(*net.TCPAddr).Port})
	return listener.Accept()
}

func (p *peer) acceptStreams() {
	<-p.accept
	for {
		stream, err := p.session.AcceptStream()
		if err != nil {
			emit(message{"event": "closed", "error": err.Error()})
			return
		}
		go p.serve(stream)
	}
}

// run carries out one command. Commands run concurrently, so that a ping can be requested while streams are open.
func (p *peer) run(c command) {
	reply := message{"id": c.ID}
	var err error
	switch c.Name {
	case "open":
		var opened int
		opened, err = p.open(c)
		reply["opened"] = opened
	case "ping":
		var roundTrip time.Duration
		roundTrip, err = p.session.Ping()
		reply["rttMs"] = roundTrip.Seconds() * 1000
	case "goaway":
		err = p.session.GoAway()
	case "close":
		err = p.session.Close()
	case "accept":
		close(p.accept)
	case "release":
		close(p.release)
	case "drained":
		err = waitUntil("no stream is open", func() bool { return p.session.NumStreams() == 0 })
	case "opened":
		err = waitUntil("the streams are open", func() bool { return p.session.NumStreams() >= c.Count })
	case "arrived":
		err = waitUntil("the bytes have arrived", func() bool { return p.tap.receivedPayload() >= c.Bytes })
	case "stats":
		reply["streams"] = p.session.NumStreams()
		p.tap.report(reply)
	default:
		err = fmt.Errorf("no such command: %s", c.Name)
	}
	if err != nil {
		reply["error"] = err.Error()
	}
	emit(reply)
}

// waitUntil polls: the library notifies of neither.
func waitUntil(what string, isSo func() bool) error {
	for deadline := time.Now().Add(workDeadline); !isSo(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("not in time: %s", what)
		}
	}
	return nil
}
