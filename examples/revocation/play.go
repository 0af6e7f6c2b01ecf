package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// play shows what the two APIs answer to the tokens of two people, of whom one logs
// out. It fails if one answer is not the one that it should be.
func play(out io.Writer, redis string) error {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	start := share
	if redis != "" {
		start = spawn
	}
	a, b, stop, err := start(issuer, redis)
	if err != nil {
		return err
	}
	defer stop()

	session := func(subject, id string) string {
		return issuer.Token(jwttest.Claims{"sub": subject, "sid": id + "-" + issuer.URL}) // another in each play
	}
	phone, laptop := session("alice", "phone"), session("alice", "laptop")
	refreshed := session("alice", "phone")
	bob := session("bob", "desk")
	for _, step := range []struct {
		what, method, url, token string
		status                   int
	}{
		{"alice's phone, at A", "GET", a + "/orders", phone, 200},
		{"alice's phone, at B", "GET", b + "/orders", phone, 200},
		{"alice's laptop, at B", "GET", b + "/orders", laptop, 200},
		{"alice's phone logs out, at A", "POST", a + "/logout", phone, 204},
		{"alice's phone, at A", "GET", a + "/orders", phone, 401},
		{"alice's phone, at B", "GET", b + "/orders", phone, 401},
		{"another token of the phone's session, at B", "GET", b + "/orders", refreshed, 401},
		{"alice's laptop, at B", "GET", b + "/orders", laptop, 200},
		{"alice logs out everywhere, at B", "POST", b + "/logout-everywhere", laptop, 204},
		{"alice's laptop, at A", "GET", a + "/orders", laptop, 401},
		{"bob, at A", "GET", a + "/orders", bob, 200},
	} {
		status, err := await(step.method, step.url, step.token, step.status)
		if err != nil {
			return err
		}
		if status != step.status {
			return fmt.Errorf("%s: answered %d", step.what, status)
		}
		fmt.Fprintf(out, "%-44s %d ok\n", step.what, status)
	}
	return nil
}

// await asks until the answer is the one that is waited for: what happened at one API
// comes to the other a moment later.
func await(method, url, token string, want int) (status int, err error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		status, err = ask(method, url, token)
		if err != nil || status == want || time.Now().After(end) {
			return status, err
		}
	}
}

func ask(method, url, token string) (status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<10))
	return res.StatusCode, err
}

// share starts two servers in this process, with one list.
func share(issuer *jwttest.Issuer, _ string) (a, b string, stop func(), err error) {
	r, err := inMemory()
	if err != nil {
		return "", "", nil, err
	}
	api, err := newAPI(issuer.Config(), r)
	if err != nil {
		return "", "", nil, err
	}
	first, second := httptest.NewServer(api), httptest.NewServer(api)
	return first.URL, second.URL, func() { first.Close(); second.Close() }, nil
}

// spawn starts this program twice more.
func spawn(issuer *jwttest.Issuer, redis string) (a, b string, stop func(), err error) {
	var processes []func()
	stop = func() {
		for _, end := range processes {
			end()
		}
	}
	start := func() (string, error) {
		program, err := os.Executable()
		if err != nil {
			return "", err
		}
		api := exec.Command(program, "-api", issuer.URL)
		api.Env = append(os.Environ(), "REDIS_URL="+redis) // not an argument: those can be read by others
		api.Stderr = os.Stderr
		stdin, err := api.StdinPipe()
		if err != nil {
			return "", err
		}
		stdout, err := api.StdoutPipe()
		if err != nil {
			return "", err
		}
		if err := api.Start(); err != nil {
			return "", err
		}
		processes = append(processes, func() {
			_ = stdin.Close()
			late := time.AfterFunc(10*time.Second, func() { _ = api.Process.Kill() })
			defer late.Stop()
			_ = api.Wait()
		})
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil {
			return "", errors.New("an API did not start: is there a Redis at the -redis URL?")
		}
		return strings.TrimSpace(line), nil
	}
	if a, err = start(); err == nil {
		b, err = start()
	}
	if err != nil {
		stop()
	}
	return a, b, stop, err
}
