package grpcauth_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// plainLog is a log handler as careless as they come: it quotes nothing. What
// is still one line in it is one line in any log.
type plainLog struct {
	mu      sync.Mutex
	records []string
}

func (l *plainLog) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records)
}

func (l *plainLog) logger() *slog.Logger { return slog.New(plainHandler{l}) }

type plainHandler struct{ *plainLog }

func (plainHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h plainHandler) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value.Resolve().Any())
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, line)
	return nil
}

// The handler of the Verifier's own records.
func (h plainHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h plainHandler) WithGroup(string) slog.Handler      { return h }
