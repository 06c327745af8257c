package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
)

const (
	headerBytes = 12

	typeData         = 0
	typeWindowUpdate = 1
	typePing         = 2
	typeGoAway       = 3

	flagSYN = 0x1
	flagRST = 0x8
)

var typeNames = []string{"data", "window", "ping", "goaway"}

// tap sits between yamux and the TCP connection and looks at the frames that pass. It reports to specs what was really on
// the wire, and can insert a frame: the library has no call to reset a stream.
type tap struct {
	net.Conn
	lock     sync.Mutex
	received frameCounter
	sent     frameCounter
	queued   []byte // frames to add as soon as yamux is between two frames

	// Streams of the other side that no frame has been sent for. Not those without an ACK: yamux never sends the ACK of
	// a stream whose FIN comes before it is accepted.
	unanswered    map[uint32]bool
	maxUnanswered int
}

func newTap(connection net.Conn) *tap {
	t := &tap{Conn: connection, unanswered: map[uint32]bool{}}
	t.received = frameCounter{counts: map[string]int{}, seen: t.onReceived}
	t.sent = frameCounter{counts: map[string]int{}, seen: t.onSent}
	return t
}

func (t *tap) Read(into []byte) (int, error) {
	n, err := t.Conn.Read(into)
	t.lock.Lock()
	defer t.lock.Unlock()
	t.received.feed(into[:n])
	return n, err
}

func (t *tap) Write(bytes []byte) (int, error) {
	t.lock.Lock()
	// Counted before the write: an answer to these frames must not be seen before they are.
	t.sent.feed(bytes)
	between := t.sent.betweenFrames()
	t.lock.Unlock()
	n, err := t.Conn.Write(bytes)
	if err == nil && between {
		err = t.flush()
	}
	return n, err
}

// reset puts an RST for the stream on the wire behind the library's back, after the next frame that yamux sends.
func (t *tap) reset(streamID uint32) {
	frame := make([]byte, headerBytes)
	frame[1] = typeWindowUpdate
	binary.BigEndian.PutUint16(frame[2:4], flagRST)
	binary.BigEndian.PutUint32(frame[4:8], streamID)
	t.lock.Lock()
	t.queued = append(t.queued, frame...)
	t.lock.Unlock()
}

func (t *tap) flush() error {
	t.lock.Lock()
	queued := t.queued
	t.queued = nil
	t.sent.feed(queued)
	t.lock.Unlock()
	if len(queued) == 0 {
		return nil
	}
	_, err := t.Conn.Write(queued)
	return err
}

func (t *tap) onReceived(frameType uint8, flags uint16, streamID, length uint32) {
	if flags&flagSYN != 0 && frameType != typePing {
		t.unanswered[streamID] = true
		if len(t.unanswered) > t.maxUnanswered {
			t.maxUnanswered = len(t.unanswered)
		}
	}
	if frameType > typeWindowUpdate || flags&flagRST != 0 {
		emit(message{
			"event": "frame", "type": typeNames[frameType], "flags": flags, "stream": streamID, "length": length,
		})
	}
}

func (t *tap) onSent(frameType uint8, flags uint16, streamID, length uint32) {
	delete(t.unanswered, streamID)
}

func (t *tap) receivedPayload() int {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.received.payloadBytes
}

func (t *tap) report(reply message) {
	t.lock.Lock()
	defer t.lock.Unlock()
	reply["received"] = t.received.copy()
	reply["sent"] = t.sent.copy()
	reply["receivedBytes"] = t.received.payloadBytes
	reply["maxUnansweredStreams"] = t.maxUnanswered
}

// frameCounter counts the frames of one direction by type and flags, such as "window SYN" or "data".
type frameCounter struct {
	header       [headerBytes]byte
	have         int
	payloadLeft  uint32
	payloadBytes int
	counts       map[string]int
	seen         func(frameType uint8, flags uint16, streamID, length uint32)
}

func (c *frameCounter) betweenFrames() bool {
	return c.have == 0 && c.payloadLeft == 0
}

func (c *frameCounter) feed(bytes []byte) {
	for len(bytes) > 0 {
		if c.payloadLeft > 0 {
			n := uint32(len(bytes))
			if n > c.payloadLeft {
				n = c.payloadLeft
			}
			c.payloadLeft -= n
			c.payloadBytes += int(n)
			bytes = bytes[n:]
			continue
		}
		n := copy(c.header[c.have:], bytes)
		c.have += n
		bytes = bytes[n:]
		if c.have < headerBytes {
			return
		}
		c.have = 0
		frameType, flags := c.header[1], binary.BigEndian.Uint16(c.header[2:4])
		streamID, length := binary.BigEndian.Uint32(c.header[4:8]), binary.BigEndian.Uint32(c.header[8:12])
		if frameType == typeData {
			c.payloadLeft = length
		}
		if frameType > typeGoAway {
			c.counts["malformed"]++
			continue
		}
		c.counts[frameName(frameType, flags)]++
		c.seen(frameType, flags, streamID, length)
	}
}

func (c *frameCounter) copy() map[string]int {
	counts := map[string]int{}
	for name, count := range c.counts {
		counts[name] = count
	}
	return counts
}

func frameName(frameType uint8, flags uint16) string {
	name := typeNames[frameType]
	for bit, flag := range []string{"SYN", "ACK", "FIN", "RST"} {
		if flags&(1<<uint(bit)) != 0 {
			name += " " + flag
		}
	}
	if flags > 0xf {
		name += fmt.Sprintf(" 0x%x", flags)
	}
	return name
}
