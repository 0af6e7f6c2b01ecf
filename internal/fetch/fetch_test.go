package fetch_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/fetch"
)

// serve answers on loopback over plain http.
func serve(t *testing.T, handler http.HandlerFunc) string {
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

// client is one of our own, not a caller's.
func client(t *testing.T, o fetch.Options) *fetch.Client {
	c := fetch.New(o)
	t.Cleanup(c.Close)
	return c
}

func zipped(t *testing.T, size int) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := io.CopyN(w, zeros{}, int64(size))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestABodyMayBe256KiBAndNotAByteMore(t *testing.T) {
	c := client(t, fetch.Options{})
	for name, send := range map[string]func(w http.ResponseWriter, size int){
		"of known length": func(w http.ResponseWriter, size int) {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			_, _ = w.Write(make([]byte, size))
		},
		"in chunks": func(w http.ResponseWriter, size int) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(make([]byte, size))
		},
		"compressed": func(w http.ResponseWriter, size int) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zipped(t, size))
		},
	} {
		t.Run(name, func(t *testing.T) {
			size := fetch.MaxBody
			at := serve(t, func(w http.ResponseWriter, _ *http.Request) { send(w, size) })
			res, err := c.Get(t.Context(), fetch.Request{URL: at})
			require.NoError(t, err)
			require.Len(t, res.Body, fetch.MaxBody)

			size++
			_, err = c.Get(t.Context(), fetch.Request{URL: at})
			require.ErrorContains(t, err, "larger than 256 KiB")
		})
	}
}

func TestADecompressionBombCostsNoMemory(t *testing.T) {
	const size = 16 << 20
	bomb := zipped(t, size)
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb)
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := client(t, fetch.Options{}).Get(t.Context(), fetch.Request{URL: at})
	runtime.ReadMemStats(&after)
	require.ErrorContains(t, err, "larger than")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(size/4))
}

func TestABodyCutShortIsAnError(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"keys":[]}`)
	})
	_, err := client(t, fetch.Options{}).Get(t.Context(), fetch.Request{URL: at})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// piped is a caller's client whose connections end in peer; inside of synctest a
// socket would stop the clock.
func piped(t *testing.T, peer func(net.Conn)) *fetch.Client {
	var peers sync.WaitGroup
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		peers.Go(func() {
			defer theirs.Close()
			if _, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
				peer(theirs)
			}
		})
		return ours, nil
	}}
	t.Cleanup(peers.Wait)
	t.Cleanup(transport.CloseIdleConnections)
	return fetch.New(fetch.Options{HTTP: &http.Client{Transport: transport}})
}

func TestAnExchangeEndsAfterFiveSecondsWhateverTheServerDoes(t *testing.T) {
	drip := func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, " "); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	for name, peer := range map[string]func(net.Conn){
		"silent":         func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"drips a header": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX:"); drip(c) },
		"drips a body":   func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); drip(c) },
		"stops in the body": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
			_, _ = io.Copy(io.Discard, c)
		},
		"endless 1xx answers": func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := piped(t, peer)
				began := time.Now()
				_, err := c.Get(t.Context(), fetch.Request{URL: "http://127.0.0.1/"})
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, fetch.Timeout, time.Since(began))
				require.Equal(t, 5*time.Second, fetch.Timeout)

				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				began = time.Now()
				_, err = c.Get(ctx, fetch.Request{URL: "http://127.0.0.1/"})
				require.ErrorIs(t, err, context.Canceled)
				require.Equal(t, time.Second, time.Since(began))
			})
		})
	}
}

func TestRedirectsStayWithinTheOrigin(t *testing.T) {
	var strayed atomic.Int32
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { strayed.Add(1) })
	var self string
	handler := func(w http.ResponseWriter, r *http.Request) {
		to := r.URL.Query().Get("to")
		if n, err := strconv.Atoi(to); err == nil && n > 0 {
			to = fmt.Sprintf("/?to=%d", n-1)
		}
		switch to {
		case "", "0":
			_, _ = io.WriteString(w, "arrived")
		default:
			http.Redirect(w, r, to, http.StatusFound)
		}
	}
	self = serve(t, handler)
	host := strings.TrimPrefix(self, "http://")
	_, port, err := net.SplitHostPort(host)
	require.NoError(t, err)

	for to, fault := range map[string]string{
		"1":                               "",
		"3":                               "",
		"4":                               "too often",
		"1000":                            "too often",
		self + "/":                        "",
		elsewhere + "/":                   "another origin",
		"//" + elsewhere[len("http://"):]: "another origin",
		"http://localhost:" + port + "/":  "another origin",
		"https://" + host + "/":           "another origin",
		"http://user:secret@" + host:      "credentials",
		"file:///etc/passwd":              "another origin",
		"ftp://" + host + "/":             "another origin",
	} {
		t.Run(to, func(t *testing.T) {
			res, err := client(t, fetch.Options{}).Get(t.Context(), fetch.Request{URL: self + "/?to=" + url.QueryEscape(to)})
			if fault == "" {
				require.NoError(t, err)
				require.Equal(t, "arrived", string(res.Body))
				return
			}
			require.ErrorContains(t, err, fault)
			require.NotContains(t, err.Error(), "secret")
		})
	}
	require.Zero(t, strayed.Load(), "nobody else was ever asked")
}

func TestARedirectNeverLeavesTLS(t *testing.T) {
	var strayed atomic.Int32
	plain := serve(t, func(http.ResponseWriter, *http.Request) { strayed.Add(1) })
	s := httptest.NewTLSServer(http.RedirectHandler(plain, http.StatusFound))
	t.Cleanup(s.Close)
	_, err := client(t, fetch.Options{TLS: trust(s)}).Get(t.Context(), fetch.Request{URL: s.URL})
	require.ErrorContains(t, err, "another origin")
	require.Zero(t, strayed.Load())
}

func TestNoCookieAndNoCredentialIsEverSent(t *testing.T) {
	var asked atomic.Int32
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if len(r.Header["Cookie"])+len(r.Header["Authorization"]) > 0 {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1", Path: "/"})
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/there", http.StatusFound)
		}
	})
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	for _, o := range []fetch.Options{{}, {HTTP: &http.Client{Jar: jar}}} {
		c := client(t, o)
		for range 2 {
			_, err := c.Get(t.Context(), fetch.Request{URL: at + "/"})
			require.NoError(t, err)
		}
	}
	require.EqualValues(t, 8, asked.Load())
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOfACallersClientOnlyTheTransportIsUsed(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) {})
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, elsewhere, http.StatusFound)
		}
	})
	trips := 0
	theirs := &http.Client{
		Transport:     roundTripper(func(r *http.Request) (*http.Response, error) { trips++; return http.DefaultTransport.RoundTrip(r) }),
		CheckRedirect: func(*http.Request, []*http.Request) error { return nil },
		Timeout:       time.Nanosecond,
	}
	c := client(t, fetch.Options{HTTP: theirs})
	_, err := c.Get(t.Context(), fetch.Request{URL: at})
	require.NoError(t, err, "their Timeout does not count")
	_, err = c.Get(t.Context(), fetch.Request{URL: at + "/away"})
	require.ErrorContains(t, err, "another origin", "nor does their CheckRedirect")
	require.Equal(t, 2, trips)
	require.NoError(t, theirs.CheckRedirect(nil, nil), "their client is as it was")

	c = client(t, fetch.Options{HTTP: &http.Client{}})
	_, err = c.Get(t.Context(), fetch.Request{URL: at})
	require.NoError(t, err, "a nil Transport is http.DefaultTransport, as in net/http")
}

func TestOnlyHTTPSIsFetchedAndPlainHTTPFromLoopback(t *testing.T) {
	strict, insecure := client(t, fetch.Options{}), client(t, fetch.Options{InsecureHTTP: true})
	for raw, fault := range map[string]string{
		"https://issuer.example/keys":      "",
		"https://issuer.example:8443/k?a=": "",
		"https://10.0.0.1/":                "",
		"HTTPS://issuer.example/":          "",
		"http://localhost:8080/":           "",
		"http://127.0.0.1/":                "",
		"http://127.9.9.9/":                "",
		"http://[::1]:80/":                 "",
		"http://[::ffff:127.0.0.1]/":       "",
		"http://issuer.example/":           "plain http",
		"http://10.0.0.1/":                 "plain http",
		"http://localhost.evil.example/":   "plain http",
		"http://127.0.0.1.evil.example/":   "plain http",
		"http://0.0.0.0/":                  "plain http",
		"http://2130706433/":               "plain http",
		"http://[::]/":                     "plain http",
		"https://user@issuer.example/":     "credentials",
		"https://u:p@issuer.example/":      "credentials",
		"http://localhost@evil.example/":   "credentials",
		"https://issuer.example/#keys":     "fragment",
		"file:///etc/passwd":               "absolute URL",
		"file://host/etc/passwd":           "scheme",
		"ftp://issuer.example/":            "scheme",
		"unix://socket/":                   "scheme",
		"https:issuer.example":             "absolute URL",
		"https:///keys":                    "absolute URL",
		"https://:443/":                    "absolute URL",
		"issuer.example/keys":              "absolute URL",
		"//issuer.example/keys":            "scheme",
		"/keys":                            "absolute URL",
		"":                                 "absolute URL",
		"https://issuer.example:port/":     "not a URL",
		"https://issuer.example/\r\nX: y":  "not a URL",
		"://":                              "not a URL",
	} {
		err := strict.CheckURL(raw)
		if fault == "" {
			require.NoError(t, err, raw)
			require.NoError(t, insecure.CheckURL(raw), raw)
			continue
		}
		require.ErrorContains(t, err, fault, raw)
		if fault == "plain http" {
			require.NoError(t, insecure.CheckURL(raw), raw)
			continue
		}
		require.ErrorContains(t, insecure.CheckURL(raw), fault, raw)
		_, err = strict.Get(t.Context(), fetch.Request{URL: raw})
		require.ErrorContains(t, err, fault, "Get checks too")
	}
}

func TestADocumentLeadsNeitherToPlainHTTPNorToMetadataAddresses(t *testing.T) {
	insecure := client(t, fetch.Options{InsecureHTTP: true})
	for _, c := range []struct{ document, link, fault string }{
		{"https://issuer.example", "https://keys.example/", ""},
		{"HTTPS://issuer.example", "HTTPS://keys.example/", ""},
		{"https://issuer.example", "https://10.0.0.1/", ""},
		{"http://issuer.example", "http://keys.example/", ""},
		{"http://issuer.example", "https://keys.example/", ""},
		{"https://issuer.example", "http://issuer.example/", "plain http"},
		{"HTTPS://issuer.example", "http://127.0.0.1/", "plain http"},
		{"https://issuer.example", "file:///etc/passwd", "absolute URL"},
		{"https://issuer.example", "/keys", "absolute URL"},
		{"https://issuer.example", "https://u:p@issuer.example/", "credentials"},
		{"http://issuer.example", "http://169.254.169.254/", "leads to"},
		{"http://issuer.example", "http://[::ffff:169.254.169.254]/", "leads to"},
		{"http://issuer.example", "http://[fe80::1%25eth0]/", "leads to"},
		{"https://issuer.example", "https://[fd00:ec2::254]/", "leads to"},
	} {
		if err := insecure.CheckLink(c.document, c.link); c.fault == "" {
			require.NoError(t, err, "%+v", c)
		} else {
			require.ErrorContains(t, err, c.fault, "%+v", c)
		}
	}
}

// trust is a configuration for our client under which s is genuine.
func trust(s *httptest.Server) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{RootCAs: roots}
}

func serveTLS(t *testing.T, config *tls.Config) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = config
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLSIsAtLeast12AndItsCertificateIsChecked(t *testing.T) {
	modern := serveTLS(t, &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12})
	_, err := client(t, fetch.Options{TLS: trust(modern)}).Get(t.Context(), fetch.Request{URL: modern.URL})
	require.NoError(t, err)

	var unknown *tls.CertificateVerificationError
	_, err = client(t, fetch.Options{}).Get(t.Context(), fetch.Request{URL: modern.URL})
	require.ErrorAs(t, err, &unknown, "the system's roots do not know it")

	_, port, err := net.SplitHostPort(strings.TrimPrefix(modern.URL, "https://"))
	require.NoError(t, err)
	_, err = client(t, fetch.Options{TLS: trust(modern)}).Get(t.Context(), fetch.Request{URL: "https://localhost:" + port})
	require.ErrorAs(t, err, &unknown, "it is for another name")

	old := serveTLS(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	config := trust(old)
	config.MinVersion = tls.VersionTLS10
	_, err = client(t, fetch.Options{TLS: config}).Get(t.Context(), fetch.Request{URL: old.URL})
	require.ErrorContains(t, err, "protocol version")
	require.EqualValues(t, tls.VersionTLS10, config.MinVersion, "the caller's configuration is left alone")
}

func TestHugeHeadersAreRefused(t *testing.T) {
	size := 32 << 10
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", size)) })
	c := client(t, fetch.Options{})
	_, err := c.Get(t.Context(), fetch.Request{URL: at})
	require.NoError(t, err)
	size = 128 << 10
	_, err = c.Get(t.Context(), fetch.Request{URL: at})
	require.ErrorContains(t, err, "header")
}

func TestEveryStatusBut200IsAnErrorThatNamesItAndNothingElse(t *testing.T) {
	for _, status := range []int{201, 203, 204, 206, 300, 301, 304, 400, 401, 403, 404, 418, 429, 500, 502, 503, 599} {
		at := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "secret of the server")
		})
		_, err := client(t, fetch.Options{}).Get(t.Context(), fetch.Request{URL: at})
		var fault *fetch.StatusError
		if status == 301 { // one without a Location is net/http's own error
			require.Error(t, err)
		} else {
			require.ErrorAs(t, err, &fault, status)
			require.Equal(t, status, fault.Status)
			require.ErrorContains(t, err, strconv.Itoa(status))
		}
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestRetryAfterCountsWhereAServerIsBusy(t *testing.T) {
	for _, c := range []struct {
		status int
		header string
		want   time.Duration
	}{
		{429, "120", 2 * time.Minute},
		{503, "120", 2 * time.Minute},
		{503, "", 0},
		{503, "soon", 0},
		{500, "120", 0},
		{404, "120", 0},
	} {
		at := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", c.header)
			w.WriteHeader(c.status)
		})
		_, err := client(t, fetch.Options{}).Get(t.Context(), fetch.Request{URL: at})
		require.Equal(t, c.want, fetch.RetryAfter(err), "%+v", c)
	}
}

func TestRetryAfterIsTheLongestOfSeveralAnswers(t *testing.T) {
	busy := func(d time.Duration) error { return &fetch.StatusError{Status: 503, RetryAfter: d} }
	require.Zero(t, fetch.RetryAfter(nil))
	require.Zero(t, fetch.RetryAfter(errors.New("refused")))
	require.Equal(t, time.Minute, fetch.RetryAfter(errors.Join(
		fmt.Errorf("one: %w", &fetch.StatusError{Status: 404}),
		errors.Join(fmt.Errorf("two: %w", busy(time.Minute)), busy(time.Second)),
	)))
}
