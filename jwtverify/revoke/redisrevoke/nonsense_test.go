package redisrevoke_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
)

func pick[T any](all ...T) T { return all[rand.N(len(all))] }

// anyReply is some reply of RESP 3, of words that mean something to the client.
func anyReply(depth int) string {
	kinds := "$$$$:::+-_#,(=!"
	if depth > 0 {
		kinds += "*****~~%%%%%"
	}
	word := pick("", "a", "b", "master", "0-1", "from", "to", "version", "id", "slots", "nodes", "health", "online", "endpoint", "role",
		"127.0.0.1", "5000", "-1", "{bearerguard}:changes", "1t1:i2:id", "1800000000", "txt:x")
	switch kind := kinds[rand.N(len(kinds))]; kind {
	case '$', '=', '!':
		return pick(fmt.Sprintf("%c%d\r\n%s\r\n", kind, len(word), word), string(kind)+"-1\r\n")
	case ':':
		return fmt.Sprintf(":%d\r\n", pick[int64](0, 1, -1, 7, 16383, 16384, 1<<40, -1<<63))
	case '*', '~', '%':
		n := rand.N(6) - 1
		out := fmt.Sprintf("%c%d\r\n", kind, n)
		if kind == '%' {
			n *= 2
		}
		for ; n > 0; n-- {
			out += anyReply(depth - 1)
		}
		return out
	case '#':
		return pick("#t\r\n", "#f\r\n")
	case '_':
		return "_\r\n"
	default:
		return pick(string(kind)+word, string(kind)+"1.5") + "\r\n"
	}
}

// spoiled is a reply of which a byte is another, too much or missing.
func spoiled(reply string) string {
	if reply == "" {
		return reply
	}
	at := rand.N(len(reply))
	return reply[:at] + pick("", "\r", "\n", "\r\n", "-", "9", "$", "*", "%", "_", "#", "?", "99999999999999") + reply[min(at+rand.N(2), len(reply)):]
}

// liar is a server that mostly answers as Redis does, and sometimes anything at all.
func liar(conn net.Conn, port string, answered *atomic.Int64) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	number := func() int {
		line, _ := in.ReadString('\n')
		n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimLeft(line, "*$")))
		return n
	}
	for {
		var command string
		for i := range number() {
			word := make([]byte, number()+2)
			if _, err := io.ReadFull(in, word); err != nil {
				return
			}
			if i == 0 {
				command = string(word[:len(word)-2])
			}
		}
		reply := map[string]string{
			"HELLO":   "%3\r\n+proto\r\n:3\r\n+role\r\n+master\r\n+version\r\n+" + pick("7.0.0", "6.2.0", "x") + "\r\n",
			"CLUSTER": pick("-ERR This instance has cluster support disabled\r\n", "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:"+port+"\r\n"),
			"HMGET":   "*2\r\n$1\r\n" + pick("a", "b") + "\r\n$3\r\n0-1\r\n",
			"INFO":    "=6\r\ntxt:xx\r\n",
			"ZSCAN":   "*2\r\n$1\r\n0\r\n*2\r\n$9\r\n1t1:i2:id\r\n$10\r\n1800000000\r\n",
			"XREAD":   "%1\r\n$21\r\n{bearerguard}:changes\r\n*1\r\n*2\r\n$3\r\n0-2\r\n*4\r\n$4\r\nfrom\r\n$1\r\na\r\n$2\r\nto\r\n$1\r\nb\r\n",
			"EVAL":    "$3\r\n0-1\r\n",
			"WAIT":    ":1\r\n",
		}[command]
		switch rand.N(8) {
		case 0:
			reply = anyReply(6)
		case 1:
			reply = spoiled(reply)
		case 2:
			reply = spoiled(anyReply(4))
		}
		if _, err := io.WriteString(conn, reply); err != nil || command == "" {
			return
		}
		answered.Add(1)
	}
}

// TestNoReplyIsTheEndOfTheProcess holds that the client, which panics at some replies,
// sees none of those.
func TestNoReplyIsTheEndOfTheProcess(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	var answered atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go liar(conn, port, &answered)
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	redis := redisrevoke.Redis{URL: "redis://" + listener.Addr().String(), Timeout: 50 * time.Millisecond}
	for range 8 {
		all.Go(func() {
			for ctx.Err() == nil { // each from the beginning, since the pauses between sessions grow
				f := startFollower(t, redisrevoke.FollowerConfig{Redis: redis})
				at, stop := context.WithTimeout(ctx, 200*time.Millisecond)
				<-at.Done()
				stop()
				_ = f.Close()
				if verdict(f, "unknown") != jwtverify.ErrUnavailable {
					t.Error("a Follower that was closed lets tokens in")
				}
			}
		})
		all.Go(func() {
			for ctx.Err() == nil {
				p, err := redisrevoke.NewPublisher(redisrevoke.PublisherConfig{Redis: redis, WaitReplicas: 1})
				if err != nil {
					t.Error(err)
					return
				}
				at, stop := context.WithTimeout(ctx, 200*time.Millisecond)
				for at.Err() == nil {
					_ = p.Revoke(at, entry("id"))
				}
				stop()
				_ = p.Close()
			}
		})
	}
	eventually(t, "much was answered", func() bool { return answered.Load() > 5_000 })
}
