package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// What a stream is for is its first line, "verb" or "verb bytes":
//
//	echo        the acceptor sends back all that comes and half-closes after the opener has
//	sink        the acceptor reads to the end, then sends the SHA-256 of it in hex and closes
//	source n    the acceptor sends n pseudo-random bytes and their SHA-256 in hex and half-closes
//	exchange n  both sides send n pseudo-random bytes and their SHA-256 at once, check what comes,
//	            and the acceptor ends with a line that says "good" or "bad"
//	quiet       the acceptor says nothing and closes after the opener has
//	hold        as sink, but nothing is read before the command release
//	closed n    the acceptor half-closes at once, then reads n bytes and reports their SHA-256 in an event
//	reset       the acceptor puts an RST on the wire, goes on sending as if it had not, and half-closes

const (
	workDeadline = 20 * time.Second
	chunkBytes   = 64 * 1024
	digestBytes  = 2 * sha256.Size
)

// serve is the acceptor's side. An error is reported in an event, as a spec may be waiting for it.
func (p *peer) serve(stream *yamux.Stream) {
	verb, err := p.serveVerb(stream)
	if err != nil {
		emit(message{
			"event": "stream-error", "stream": stream.StreamID(), "verb": verb, "error": err.Error(),
		})
	}
	stream.Close()
}

func (p *peer) serveVerb(stream *yamux.Stream) (string, error) {
	reader := bufio.NewReaderSize(stream, chunkBytes)
	line, err := reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	words := strings.Fields(line)
	verb, size := words[0], 0
	if len(words) > 1 {
		if size, err = strconv.Atoi(words[1]); err != nil {
			return verb, err
		}
	}
	switch verb {
	case "echo":
		_, err = io.Copy(stream, reader)
	case "sink":
		err = sink(stream, reader)
	case "source":
		err = source(stream, size)
	case "exchange":
		err = exchange(stream, reader, size)
		verdict := "good\n"
		if err != nil {
			verdict = "bad\n"
		}
		if _, e := io.WriteString(stream, verdict); e != nil {
			err = e
		}
		if _, e := reader.ReadByte(); e != io.EOF && err == nil {
			err = fmt.Errorf("no end after the exchange: %v", e)
		}
	case "quiet":
		_, err = io.Copy(io.Discard, reader)
	case "hold":
		emit(message{"event": "held", "stream": stream.StreamID()})
		<-p.release
		err = sink(stream, reader)
	case "closed":
		err = closedReader(stream, reader, size)
	case "reset":
		p.tap.reset(stream.StreamID())
		for i := 0; i < 3 && err == nil; i++ {
			_, err = stream.Write(make([]byte, chunkBytes)) // the RST leaves after the first
		}
		if err == yamux.ErrConnectionReset {
			err = nil // answered with an RST, as may be
		}
	default:
		err = fmt.Errorf("no such verb: %s", verb)
	}
	return verb, err
}

func sink(stream *yamux.Stream, reader io.Reader) error {
	sum := sha256.New()
	if _, err := io.Copy(sum, reader); err != nil {
		return err
	}
	_, err := io.WriteString(stream, digest(sum))
	return err
}

func source(stream *yamux.Stream, size int) error {
	random := rand.New(rand.NewSource(int64(stream.StreamID())))
	sum := sha256.New()
	chunk := make([]byte, chunkBytes)
	for left := size; left > 0; {
		n := len(chunk)
		if n > left {
			n = left
		}
		random.Read(chunk[:n])
		sum.Write(chunk[:n])
		if _, err := stream.Write(chunk[:n]); err != nil {
			return err
		}
		left -= n
	}
	_, err := io.WriteString(stream, digest(sum))
	return err
}

// exchange sends and receives at once.
func exchange(stream *yamux.Stream, reader io.Reader, size int) error {
	sent := make(chan error, 1)
	go func() { sent <- source(stream, size) }()
	if err := checkSource(reader, size); err != nil {
		return err
	}
	return <-sent
}

// checkSource reads what source sent.
func checkSource(reader io.Reader, size int) error {
	sum := sha256.New()
	if _, err := io.CopyN(sum, reader, int64(size)); err != nil {
		return err
	}
	received := make([]byte, digestBytes)
	if _, err := io.ReadFull(reader, received); err != nil {
		return err
	}
	if string(received) != digest(sum) {
		return fmt.Errorf("digest is %s, received %s", digest(sum), received)
	}
	return nil
}

func closedReader(stream *yamux.Stream, reader *bufio.Reader, size int) error {
	ahead := make([]byte, reader.Buffered())
	if _, err := io.ReadFull(reader, ahead); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	rest, err := readAfterClose(stream, size-len(ahead))
	sum := sha256.New()
	sum.Write(ahead)
	sum.Write(rest)
	emit(message{"event": "received", "stream": stream.StreamID(), "digest": digest(sum)})
	return err
}

// readAfterClose reads from a stream that this side has half-closed. This version of the library answers io.EOF there
// whenever its buffer is empty, although more may come, so the end can only be known by the number of bytes.
func readAfterClose(stream *yamux.Stream, size int) ([]byte, error) {
	bytes := make([]byte, size)
	deadline := time.Now().Add(workDeadline)
	for have := 0; have < size; {
		n, err := stream.Read(bytes[have:])
		have += n
		if err == io.EOF && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		} else if err != nil {
			return bytes[:have], err
		}
	}
	return bytes, nil
}

// open opens streams, at most c.Concurrency at a time, and does the opener's side of c.Verb on each.
func (p *peer) open(c command) (int, error) {
	var (
		workers sync.WaitGroup
		lock    sync.Mutex
		opened  int
		first   error
	)
	var quiet sync.WaitGroup // until every quiet stream is open
	quiet.Add(c.Count)
	next := make(chan int)
	for i := 0; i < c.Concurrency; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for number := range next {
				err := p.openOne(c, number, &quiet)
				lock.Lock()
				if err == nil {
					opened++
				} else if first == nil {
					first = err
				}
				lock.Unlock()
			}
		}()
	}
	for number := 0; number < c.Count; number++ {
		next <- number
	}
	close(next)
	workers.Wait()
	return opened, first
}

func (p *peer) openOne(c command, number int, quiet *sync.WaitGroup) error {
	stream, err := p.session.OpenStream()
	if err != nil {
		return err
	}
	defer stream.Close()
	stream.SetDeadline(time.Now().Add(workDeadline))
	reader := bufio.NewReaderSize(stream, 4096)
	if _, err := fmt.Fprintf(stream, "%s %d\n", c.Verb, c.Bytes); err != nil {
		return err
	}
	switch c.Verb {
	case "echo":
		return checkEcho(stream, reader, c.Bytes, number)
	case "sink":
		return checkSink(stream, c.Bytes)
	case "source":
		if err := checkSource(reader, c.Bytes); err != nil {
			return err
		}
		if _, err := reader.ReadByte(); err != io.EOF {
			return fmt.Errorf("no end after the source: %v", err)
		}
		return nil
	case "exchange":
		if err := exchange(stream, reader, c.Bytes); err != nil {
			return err
		}
		if verdict, err := reader.ReadString('\n'); err != nil || verdict != "good\n" {
			return fmt.Errorf("the acceptor says %q, %v", verdict, err)
		}
		return nil
	case "quiet":
		quiet.Done()
		quiet.Wait()
		return nil
	case "reset":
		if _, err := io.Copy(io.Discard, reader); err != yamux.ErrConnectionReset {
			return fmt.Errorf("ended with %v instead of a reset", err)
		}
		return nil
	}
	return fmt.Errorf("no such verb: %s", c.Verb)
}

// checkEcho sends a payload that no other stream sends.
func checkEcho(stream *yamux.Stream, reader io.Reader, size, number int) error {
	payload := make([]byte, size)
	rand.New(rand.NewSource(int64(number))).Read(payload)
	sent := make(chan error, 1)
	go func() {
		_, err := stream.Write(payload)
		sent <- err
	}()
	answer := make([]byte, size)
	if _, err := io.ReadFull(reader, answer); err != nil {
		return err
	}
	if !bytes.Equal(answer, payload) {
		return fmt.Errorf("stream %d got another answer than it sent", stream.StreamID())
	}
	return <-sent
}

// checkSink half-closes first, and reads the answer after that.
func checkSink(stream *yamux.Stream, size int) error {
	payload := make([]byte, size)
	rand.New(rand.NewSource(int64(stream.StreamID()))).Read(payload)
	if _, err := stream.Write(payload); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	received, err := readAfterClose(stream, digestBytes)
	if err != nil {
		return err
	}
	sum := sha256.New()
	sum.Write(payload)
	if string(received) != digest(sum) {
		return fmt.Errorf("digest is %s, received %s", digest(sum), received)
	}
	return nil
}

func digest(sum hash.Hash) string {
	return hex.EncodeToString(sum.Sum(nil))
}
