package introspect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/bearerguard/bearerguard/internal/bounded"
	"github.com/bearerguard/bearerguard/internal/fetch"
)

// trouble is why an exchange brought no verdict. Its text is for operators, and holds
// nothing of the token.
type trouble struct {
	detail     string
	retryAfter time.Duration // that the server asked for
	alone      bool          // it may be this one token's doing, so others may ask
	refused    bool          // alone, and no sign that the endpoint fails
	config     bool          // the endpoint does not take what the Config says
	moved      bool          // the endpoint may be elsewhere
}

// noAnswer is trouble with what came with status 200.
func noAnswer(detail string) *trouble { return &trouble{detail: "the answer: " + detail, alone: true} }

// exchangeFault judges an exchange that brought no answer. Only what happens before the
// endpoint has the token, or is said to every token, is certainly not a token's doing.
func exchangeFault(err error) *trouble {
	fault := &trouble{detail: "the exchange: " + told(err), retryAfter: fetch.RetryAfter(err)}
	var answered *fetch.StatusError
	if !errors.As(err, &answered) {
		fault.moved = unconnected(err)
		fault.alone = !fault.moved
		return fault
	}
	switch s := answered.Status; s {
	case http.StatusUnauthorized:
		fault.config = true
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		fault.moved = true
	case http.StatusTooManyRequests:
	case http.StatusBadRequest, http.StatusForbidden:
		// Or a firewall does not like this token, or it is of a kind that the
		// endpoint does not know.
		fault.config, fault.alone, fault.refused = true, true, true
	default:
		fault.alone = true
		fault.moved = 300 <= s && s < 400
		fault.refused = 400 <= s && s < 500 && s != http.StatusRequestTimeout
	}
	return fault
}

// unconnected reports whether an exchange failed before there was a connection.
func unconnected(err error) bool {
	var none *fetch.ConnectError
	var network *net.OpError // of a transport of the caller's, as is what follows
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &none) || errors.As(err, &network) && (network.Op == "dial" || network.Op == "proxyconnect") ||
		errors.As(err, &certificate)
}

// told is an error of an exchange's as far as it is in nobody's power to write the token
// into it: a server may send back what it got in a status line, and net/http quotes a
// broken one.
func told(err error) string {
	var status *fetch.StatusError
	var network net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.As(err, &certificate):
		return bounded.Text(certificate.Error())
	case errors.As(err, &network), errors.Is(err, fetch.ErrTooLarge), errors.Is(err, context.Canceled):
		return bounded.Text(err.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection ended"
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return fmt.Sprintf("it failed with a %T", err)
}
