//go:build race

package jwtverify_test

// The race detector makes a step many times as slow. It looks at what goroutines
// share, which few steps show; what a verdict is, the other run shows.
const defaultModelSteps = 50_000
